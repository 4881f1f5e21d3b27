"""Work queues as people think of them: each with all queues that belong to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scripts.amqp.management import QueueCount
from scripts.amqp.queues import failed_queue, side_queues

_EMPTY = QueueCount("", 0, 0, 0)


@dataclass(frozen=True)
class WorkQueue:
    """A queue and where its messages are; `to_retry` wait to be tried again. None is not known."""

    name: str
    waiting: int | None
    in_work: int | None
    to_retry: int | None
    failed: int | None
    workers: int | None


def work_queues(queues: Sequence[QueueCount]) -> list[WorkQueue]:
    """Put together what belongs together, in the order of the names.

    A failed queue that somebody works on is a queue of its own right.
    """
    known = {queue.name: queue for queue in queues}
    own = {name for name in known if known[name].consumers or any(side in known for side in beside(name))}
    sides = {side for name in known for side in beside(name)} - own
    return [_put_together(queue, {side: known[side] for side in sides & known.keys()})
            for queue in queues if queue.name not in sides]  # fmt: skip


def beside(name: str) -> list[str]:
    """Return the names of the queues that belong to a work queue, whether they are there or not."""
    alone, *retry = side_queues(name)
    return [failed_queue(name), *retry, alone]


def _put_together(queue: QueueCount, sides: Mapping[str, QueueCount]) -> WorkQueue:
    failed, *retry, alone = (sides.get(name, _EMPTY) for name in beside(queue.name))
    return WorkQueue(
        queue.name,
        waiting=queue.ready,
        in_work=_sum(queue.unacknowledged, alone.unacknowledged),
        to_retry=_sum(alone.ready, *(one.messages for one in retry)),
        failed=failed.messages,
        workers=queue.consumers,
    )


def _sum(*counts: int | None) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
