"""Work queues as people think of them: each with all queues that belong to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from scripts.amqp.management import QueueCount
from scripts.amqp.queues import PAUSES_S, alone_queue, failed_queue, retry_queue


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
    return [failed_queue(name), *_retry(name), alone_queue(name)]


def _retry(name: str) -> list[str]:
    return [retry_queue(name, pause_s) for pause_s in PAUSES_S]


def _put_together(queue: QueueCount, sides: Mapping[str, QueueCount]) -> WorkQueue:
    retry = [sides[name] for name in _retry(queue.name) if name in sides]
    failed, alone = sides.get(failed_queue(queue.name)), sides.get(alone_queue(queue.name))
    return WorkQueue(
        queue.name,
        waiting=queue.ready,
        in_work=_sum([queue.unacknowledged, alone.unacknowledged if alone else 0]),
        to_retry=_sum([*(one.messages for one in retry), alone.ready if alone else 0]),
        failed=failed.messages if failed else 0,
        workers=queue.consumers,
    )


def _sum(counts: Iterable[int | None]) -> int | None:
    total = 0
    for count in counts:
        if count is None:
            return None
        total += count
    return total
