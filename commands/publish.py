"""Put work on a queue."""

from __future__ import annotations

from typing import Any

from commands.map import WHERE
from commands.output import result, say, settings_of
from commands.task import task

HELP = {
    "body": "publish this text as one message",
    "file": "publish the lines of a file, a message a line, with a CR where they have one; - is STDIN",
    "files": "publish every file that matches this pattern (in quotes), a message a file",
    "null": "the pieces of --file end in a NUL byte, not in a newline (find -print0)",
    "lines_per_message": "so many lines of --file make one message",
    "skip_empty": "leave empty lines or files out instead of refusing them; nothing at all is then no error",
    "header": "a header for every message, name=value; may be given several times",
    "queue": "the queue to publish to (default: queue.name in invoke.yaml)",
    "create": "make the queue if it is not there (the default queue always is)",
    "resume": "go on where publishing the same --file or --files was interrupted",
    "retry_for": "how many seconds to go on when the broker goes away or the queue is full",
    "at": "where the queue is: ENGINE[:ADDRESS], such as local or marathon:10.0.0.10:8080",
    "marathon": "publish to the queue of a cluster: Marathon's HOST:PORT[,HOST:PORT]",
    "url": "the broker, amqp://[USER[:PASSWORD]@]HOST[:PORT] (default: the queue on this machine)",
    "json": "print what was published as JSON",
    "dry_run": "say what would be published, and where, and send nothing",
}


@task(help=HELP, iterable=["header"], needs=("body|file|files",))
def publish(
    c: Any, body: str | None = None, file: str = "", files: str = "", null: bool = False, lines_per_message: int = 1,
    skip_empty: bool = False, header: Any = None, queue: str = "", create: bool = False, resume: bool = False,
    retry_for: float = 60.0, at: str = "", marathon: str = "", url: str = "", json: bool = False, dry_run: bool = False,
) -> None:  # fmt: skip
    """Publish messages; returns when the broker has confirmed them all."""
    from cluster.operations import publish as publishing
    from cluster.queue.publishing.items import Split

    done = publishing.run(
        settings_of(c.config), say, body=body, file=file, files=files,
        split=Split(b"\0" if null else b"\n", lines_per_message, skip_empty), header=header or (), queue=queue,
        create=create, resume=resume, retry_for_s=retry_for, url=url, marathon=marathon, at=at, dry_run=dry_run,
    )  # fmt: skip
    if json:
        result(done.as_json())


WAIT_HELP = {
    "queue": "the queue whose work is waited for (default: queue.name in invoke.yaml)",
    "halt": "end with exit code 2 as soon as so many have failed, such as 10 or 5%",
    "wait_timeout": "how many seconds to wait at most (default: as long as it takes)",
    "retry_for": "how many seconds to go on when the broker goes away",
    "json": "print how many messages there were, and how many failed, as JSON",
} | WHERE


@task(help=WAIT_HELP)
def wait(
    c: Any, queue: str = "", halt: str = "", wait_timeout: float = 0.0, retry_for: float = 60.0, at: str = "",
    marathon: str = "", url: str = "", json: bool = False,
) -> None:  # fmt: skip
    """Wait until nothing of a queue is ready, in work or to be tried again; exit code 2 where messages failed."""
    from cluster.operations import wait as waiting
    from cluster.operations.brokers import flags_of

    flags = waiting.Flags(queue, halt, wait_timeout, retry_for, at, marathon, url)
    ended = waiting.run(settings_of(c.config), flags, say)
    if json:
        result(ended.as_json())
    waiting.check(ended, flags_of(at, marathon, url))
