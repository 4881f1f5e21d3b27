"""Runs: work on many items whose results come back; which runs wait for a collector, and the end of one."""

from __future__ import annotations

from typing import Any

from commands import apps
from commands.output import result, results, say, settings_of
from commands.task import task

WHERE = {
    "at": "where the queue is: ENGINE[:ADDRESS], such as local or marathon:10.0.0.10:8080",
    "marathon": "the queue of a cluster: Marathon's HOST:PORT[,HOST:PORT]",
    "url": "the broker, amqp://[USER[:PASSWORD]@]HOST[:PORT] (default: the queue on this machine)",
}


@task(name="list", help={"json": "print JSON"} | WHERE)
def list_runs(c: Any, at: str = "", marathon: str = "", url: str = "", json: bool = False) -> None:
    """Show the runs that have results at the broker, and whether these are being collected."""
    from cluster.operations import runs

    result(runs.listed(settings_of(c.config), at=at, marathon=marathon, url=url, as_json=json, say=say))


@task(
    needs=("run",),
    help={
        "run": "which run, as map.list shows it",
        "queue": "the queue of its items (default: the one that map.list shows, else queue.name in invoke.yaml)",
        "yes": "end it although its results are being collected",
    }
    | WHERE,
)
def cancel(
    c: Any, run: str = "", queue: str = "", yes: bool = False, at: str = "", marathon: str = "", url: str = ""
) -> None:
    """End a run: delete the results that wait, take off the queue what has not begun; workers drop the rest."""
    from cluster.operations import runs

    runs.cancel(
        settings_of(c.config), run, queue=queue, at=at, marathon=marathon, url=url, yes=yes, say=say
    )  # fmt: skip


HELP = {
    "file": "the items: the lines of a file, which end in LF or CR LF; - is STDIN",
    "files": "the items: all files that match this pattern (in quotes); the action gets the path",
    "contents": "with --files: the action gets what is in the file",
    "null": "the items of --file end in a NUL byte, not in a newline (find -print0)",
    "skip_empty": "leave empty lines or files out instead of refusing them",
    "header_row": "the first line names the columns (as it does where --action or --name has a {name})",
    "action": "what runs for an item; {} is its line, {#} its number, {2} or {name} a column (default: worker.action)",
    "output": "where results go: FILE.jsonl, FILE.csv, FILE.tsv, or FOLDER/ for a file an item",
    "name": "with a folder: how its files are called, such as '{alpha}.txt' (default: the item's number)",
    "keep_order": "write the results in the order of the items",
    "workers": "how many workers are to run (default: as many as do; here one is started where none does)",
    "retry_failed": "run the failed items again, into the same output",
    "restart": "delete the output, and begin anew",
    "halt": "give up when so many items have failed, such as 10 or 5%; 100%: never (default: when the first 10 fail)",
    "detach": "return when all is published; the same command collects the results later",
    "at": "where the workers are: ENGINE[:ADDRESS], such as local or marathon:10.0.0.10:8080",
    "marathon": "where the workers are: Marathon's HOST:PORT[,HOST:PORT]",
    "url": "the broker whose workers do it, amqp://[USER[:PASSWORD]@]HOST[:PORT]",
    "json": "print what the run came to as JSON",
    "dry_run": "print the first commands, and send nothing",
    "queue": "the queue that the items go through (default: queue.name in invoke.yaml)",
    "jobs": "how many items each worker has in work at once (default: one a core here, else worker.jobs)",
    "attempts": "how often an item is tried in all (default: 3)",
    "keep_alive": "start the action once, and hand it item after item (docs/keep-alive.md)",
} | {name: apps.FLAGS[name][1] for name in ("timeout", "options", "colsep")}


@task(name="map", default=True, help=HELP, needs=("file|files", "output"))
def run(
    c: Any, file: str = "", files: str = "", contents: bool = False, null: bool = False, skip_empty: bool = False,
    colsep: str = "", header_row: bool = False, action: str = "", output: str = "", name: str = "",
    keep_order: bool = False, queue: str = "", workers: int = 0, jobs: int = -1, timeout: float = 0.0,
    attempts: int = 0, keep_alive: bool = False, options: str = "", retry_failed: bool = False, restart: bool = False,
    halt: str = "", detach: bool = False, at: str = "", marathon: str = "", url: str = "", json: bool = False,
    dry_run: bool = False,
) -> None:  # fmt: skip
    """Run an action for every item, and collect the results; the same command again goes on where it was."""
    from cluster.operations import map as mapping
    from cluster.operations.wanted_workers import Wanted

    wanted = Wanted(queue, action, workers, jobs, timeout, attempts, keep_alive, options)
    flags = mapping.Flags(
        file=file, files=files, contents=contents, null=null, skip_empty=skip_empty, colsep=colsep or None,
        header_row=header_row, output=output, name=name, keep_order=keep_order, workers=wanted,
        retry_failed=retry_failed, restart=restart, halt=halt, detach=detach, at=at, marathon=marathon, url=url,
    )  # fmt: skip
    settings = settings_of(c.config)
    if dry_run:
        results(mapping.dry_run(settings, flags, say))
        return
    summary = mapping.run(settings, flags, say)
    if json:
        result(summary.as_json())
    mapping.check(flags, summary)
