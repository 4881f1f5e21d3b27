"""Runs: work on many items whose results come back; which runs wait for a collector, and the end of one."""

from __future__ import annotations

from typing import Any

from commands.output import result, say, settings_of
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
    help={
        "run": "which run, as map.list shows it",
        "queue": "the queue of its items (default: the one that map.list shows, else queue.name in invoke.yaml)",
        "yes": "although its results are being collected",
    }
    | WHERE
)
def cancel(
    c: Any, run: str = "", queue: str = "", yes: bool = False, at: str = "", marathon: str = "", url: str = ""
) -> None:
    """End a run: delete the results that wait, take off the queue what has not begun; workers drop the rest."""
    from cluster.operations import runs

    runs.cancel(
        settings_of(c.config), run, queue=queue, at=at, marathon=marathon, url=url, yes=yes, say=say
    )  # fmt: skip
