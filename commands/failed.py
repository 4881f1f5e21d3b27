"""Failed messages: which there are and why, and what becomes of them."""

from __future__ import annotations

from functools import partial
from typing import Any

from commands.map import WHERE
from commands.output import confirm, result, results, say, settings_of
from commands.task import task

_QUEUE = {"queue": "whose failed messages (default: queue.name in invoke.yaml)"} | WHERE
_JSON = {"json": "print JSON"}
_ONES = {
    "id": "a message's id, or the beginning that it alone has; may be given several times",
    "item": "the items' numbers, such as 17,203-207: their lines when they were published from a file",
}
_WHICH = _ONES | {
    "all": "all that have failed",
    "exit_code": "those whose action exited with this",
    "reason": "those whose reason has this text, in capitals or not",
}
_NONE = -1  # of an exit code that is not given
_DRY = {"dry_run": "say how many it would be, and do nothing"}


@task(name="list", help=_JSON | _QUEUE)
def list_failed(
    c: Any, queue: str = "", json: bool = False, at: str = "", marathon: str = "", url: str = ""
) -> None:  # fmt: skip
    """Show what failed, by exit code and reason; looking changes nothing."""
    from cluster.operations import failed

    where = failed.Where(queue, at, marathon, url)
    if json:
        results(failed.records(settings_of(c.config), where, say))
    else:
        result(failed.listed(settings_of(c.config), where, say))


@task(help=_ONES | _JSON | _QUEUE, iterable=["id"], needs=("id|item",))
def show(
    c: Any, id: Any = None, item: str = "", queue: str = "", json: bool = False, at: str = "", marathon: str = "",  # noqa: A002
    url: str = "",
) -> None:  # fmt: skip
    """Show all that is known of a failed message, with the end of STDERR and its body."""
    from cluster.operations import failed
    from cluster.queue.failures import Selection

    which = Selection(tuple(id or ()), item)
    result(failed.shown(settings_of(c.config), failed.Where(queue, at, marathon, url), which, json, say))


@task(help=_WHICH | _DRY | _QUEUE, iterable=["id"], needs=("|".join(_WHICH),))
def retry(
    c: Any, id: Any = None, item: str = "", all: bool = False, exit_code: int = _NONE, reason: str = "",  # noqa: A002
    queue: str = "", dry_run: bool = False, at: str = "", marathon: str = "", url: str = "",
) -> None:  # fmt: skip
    """Put failed messages back on their queue, with all attempts; workers may run meanwhile."""
    from cluster.operations import failed
    from cluster.queue.failures import Selection

    which = Selection(tuple(id or ()), item, _given(exit_code), reason, all)
    failed.retry(settings_of(c.config), failed.Where(queue, at, marathon, url), which, dry_run, say)


@task(
    help=_WHICH | {"yes": "delete them without a question"} | _DRY | _QUEUE, iterable=["id"],
    needs=("|".join(_WHICH),),
)  # fmt: skip
def drop(
    c: Any, id: Any = None, item: str = "", all: bool = False, exit_code: int = _NONE, reason: str = "",  # noqa: A002
    queue: str = "", yes: bool = False, dry_run: bool = False, at: str = "", marathon: str = "", url: str = "",
) -> None:  # fmt: skip
    """Delete failed messages."""
    from cluster.operations import failed
    from cluster.queue.failures import Selection

    which = Selection(tuple(id or ()), item, _given(exit_code), reason, all)
    where = failed.Where(queue, at, marathon, url)
    failed.drop(settings_of(c.config), where, which, dry_run, partial(confirm, yes=yes), say)


@task(
    help=_WHICH
    | {
        "output": "a new file: one a line; FILE.jsonl: all that is known; a new FOLDER/: a file a message",
        "drop": "take what is written out of the failed queue, once all is on the disk",
    }
    | _QUEUE,
    iterable=["id"],
    needs=("|".join(_WHICH), "output"),
)
def export(
    c: Any, id: Any = None, item: str = "", all: bool = False, exit_code: int = _NONE, reason: str = "",  # noqa: A002
    output: str = "", drop: bool = False, queue: str = "", at: str = "", marathon: str = "", url: str = "",
) -> None:  # fmt: skip
    """Write failed messages to files, to be mended and published again; they stay where they are without --drop."""
    from cluster.operations import failed
    from cluster.queue.failures import Selection

    which = Selection(tuple(id or ()), item, _given(exit_code), reason, all)
    failed.export(settings_of(c.config), failed.Where(queue, at, marathon, url), which, output, drop, say)


def _given(exit_code: int) -> int | None:
    return None if exit_code == _NONE else exit_code
