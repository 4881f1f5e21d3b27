"""Lines of the logs of workers: what belongs to one message, and what went wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cluster.operations.operate import Target
from cluster.schedulers import Wanted, every_line
from scripts.errors import ClusterError
from scripts.one_line import visible

_WORKER = "cluster_worker: "

# What workers say when all is well; a new saying is shown as if something were wrong, and none is kept back.
_WELL = re.compile(
    r"consuming from |the first message succeeded|a message succeeded|.*: stopping|.*takes messages again"
    r"|queue .* (is paused|goes on|is empty and all is done)"
)
_NAMED = 5


def chosen(of: Target, tail: int, follow: bool, *, message_id: str = "", errors: bool = False) -> Iterator[str]:
    """Yield the last `tail` lines of each instance that belong to a message, and are about `errors`.

    Raises:
        ClusterError: the logs have no such message, and none is waited for; or several whose ids begin so.
    """
    wanted: Wanted = every_line
    if message_id:
        found = _found(of, visible(message_id))
        if not found and not follow:
            raise ClusterError(f"--id {message_id}: no line of the logs of {of.app_id} on {of.engine.place} is its own")
        wanted = of_message(found or visible(message_id))
    if errors:
        wanted = _both(wanted, is_trouble)
    return of.engine.logs(of.app_id, tail, follow, wanted)


def id_of(line: str) -> str:
    """Return the id of the message that a line belongs to; empty for a line of none.

    Actions' lines begin with it and a tab, the worker's own name it.
    """
    if line.startswith(_WORKER):
        return line.removeprefix(_WORKER).partition(": ")[0]
    return line.partition("\t")[0] if "\t" in line else ""


def of_message(message_id: str) -> Wanted:
    """Return what tells the lines of a message."""
    starts = f"{message_id}\t", f"{_WORKER}{message_id}: "
    return lambda line: line.startswith(starts)


def is_trouble(line: str) -> bool:
    """Tell whether a worker says in this line that an attempt failed, or what else went wrong."""
    return line.startswith(_WORKER) and not _WELL.match(line.removeprefix(_WORKER))


def _both(one: Wanted, other: Wanted) -> Wanted:
    return lambda line: one(line) and other(line)


def _found(of: Target, beginning: str) -> str:
    """Return the id that is meant: this very one, else the only one that begins so; empty where there is none."""
    ids: set[str] = set()

    def note(line: str) -> bool:
        found = id_of(line)
        if found.startswith(beginning) and (found == beginning or len(ids) <= _NAMED):
            ids.add(found)
        return False

    for _ in of.engine.logs(of.app_id, 1, False, note):
        pass
    if beginning in ids:
        return beginning
    if len(ids) > 1:
        some = ", ".join(sorted(ids)[:_NAMED])
        raise ClusterError(f"--id {beginning}: several messages begin so ({some}{' ...' if len(ids) > _NAMED else ''})")
    return next(iter(ids), "")
