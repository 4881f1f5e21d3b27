"""Sizes of a broker's queues, and of work queues as people think of them: each with all queues that belong to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from pika.exceptions import ChannelClosedByBroker

from scripts.amqp.broker import broker_errors, open_blocking
from scripts.amqp.management import Management, QueueCount
from scripts.amqp.queues import failed_queue, is_inbox, lock_of, owner_of, paused_queue, run_of, side_queues
from scripts.amqp.workers import Report
from scripts.errors import ClusterError

_NOT_THERE = 404  # AMQP's reply code
STREAM = "stream"  # of all kinds of queues the one of which nothing is ever taken
_EMPTY = QueueCount("", 0, 0, 0)


def now(management: Management, url: str, wanted: Callable[[str], bool] = bool) -> list[QueueCount]:
    """Return all queues that are `wanted`, by name, as they are now; those by which workers are asked are left out.

    Raises:
        ClusterError: the management API, which alone knows the names, does not answer.
    """
    return fresh(url, [queue for queue in management.queues() if wanted(queue.name)])


def fresh(url: str, known: Sequence[QueueCount]) -> list[QueueCount]:
    """Return the counts with what is ready, and the consumers, of now where AMQP tells them.

    What is in hand the management API alone knows: that figure is up to ten seconds old.
    """
    found = [queue for queue in known if not is_inbox(queue.name)]
    with suppress(ClusterError), broker_errors(url), open_blocking(url) as connection:
        return list(_fresh(connection, found))
    return found


def at_rest(queues: Sequence[QueueCount]) -> list[QueueCount]:
    """Correct the counts when workers have ended: where nobody consumes, nothing is in hand."""
    return [replace(queue, unacknowledged=0) if queue.consumers == 0 else queue for queue in queues]


def _fresh(connection: Any, found: Sequence[QueueCount]) -> Iterator[QueueCount]:
    """Yield the counts of this moment: a round trip each; a refusal costs a channel."""
    channel = connection.channel()
    for queue in found:
        try:
            now = channel.queue_declare(queue.name, passive=True).method
        except ChannelClosedByBroker as refusal:
            channel = connection.channel()
            if refusal.reply_code != _NOT_THERE:  # another connection's own, or not for this user
                yield queue
        else:
            yield _newer(queue, now.message_count, now.consumer_count)


def _newer(queue: QueueCount, ready: int, consumers: int) -> QueueCount:
    """Return the count with what AMQP says of this moment.

    Of a quorum queue that is not up yet AMQP says that nothing is in it; the API has no figure then. It has none of an
    empty queue that was just made, either: that is not known for some seconds, too.
    """
    is_known = ready or consumers or queue.ready is not None
    return replace(queue, ready=ready, consumers=consumers) if is_known else queue


@dataclass(frozen=True)
class WorkQueue:
    """A queue and where its messages are; `to_retry` wait to be tried again. None is not known.

    `done`: messages that its present workers have settled for good since their starts, and `gave_up` those of them that
    failed. Rates are in messages a second: what comes in, in the last seconds; what is settled, in the last minute.
    `run` is the id of an `inv map` that goes through it, empty where none does.
    """

    name: str
    waiting: int | None
    in_work: int | None
    to_retry: int | None
    failed: int | None
    workers: int | None
    paused: bool = False
    done: int | None = None
    gave_up: int | None = None
    rate_in: float | None = None
    rate_out: float | None = None
    run: str = ""

    @property
    def left_s(self) -> float | None:
        """Seconds until all is settled at the present rate; None where nothing moves, or where that is not known."""
        left = _sum(self.waiting, self.in_work, self.to_retry)
        return left / self.rate_out if left is not None and self.rate_out else None


def work_queues(queues: Sequence[QueueCount], reports: Sequence[Report] = ()) -> list[WorkQueue]:
    """Put together what belongs together, in the order of the names, with what workers report.

    A failed queue that somebody works on is a queue of its own right, and not one at which somebody looks: how many are
    in it is not known meanwhile. The results of a run are no work.
    """
    known = {queue.name: queue for queue in queues}
    looked_at = {name for name in known if lock_of(name) in known}
    known = {name: replace(queue, ready=None) if name in looked_at else queue for name, queue in known.items()}
    for name in looked_at:
        del known[lock_of(name)]
    worked_on = {name for name in known if any(side in known for side in beside(name))}
    own = {name for name in known.keys() - looked_at if known[name].consumers} | worked_on
    own |= {report.queue for report in reports}
    sides = {side for name in known for side in beside(name)} - own
    sides |= {name for name in known.keys() - worked_on if run_of(name)}
    sides |= {paused_queue(name) for name in known}
    runs = dict(found for name in sorted(known, reverse=True) if (found := run_of(name)))
    return [
        _with_workers(_put_together(queue, {side: known[side] for side in sides & known.keys()}, runs), queue,
                      [report for report in reports if report.queue == queue.name])
        for name, queue in known.items() if name not in sides
    ]  # fmt: skip


def _with_workers(work: WorkQueue, queue: QueueCount, reports: Sequence[Report]) -> WorkQueue:
    """Add what workers say; where all consumers are workers that answered, what they have in hand is of this moment."""
    if not reports:
        return work
    all_answered = sum(report.subscriptions for report in reports) == queue.consumers
    return replace(
        work,
        workers=max(work.workers or 0, len(reports)),
        in_work=sum(report.in_hand for report in reports) if all_answered else work.in_work,
        done=sum(report.done + report.failed for report in reports),
        gave_up=sum(report.failed for report in reports),
        rate_out=sum(report.rate for report in reports),
    )


def kinds_of(found: Sequence[QueueCount], beside: str) -> Mapping[str, str]:
    """Return a word for each queue, by name: `beside` for one that belongs to another that is there."""
    names = {one.name for one in found}

    def kind(one: QueueCount) -> str:
        owner = owner_of(one.name)
        if run_of(one.name):
            return "results"
        if owner != one.name:
            return beside if owner in names else "left over"
        if one.exclusive:
            return "exclusive"
        if paused_queue(one.name) in names:
            return "paused"
        return STREAM if one.kind == STREAM else "work"

    return {one.name: kind(one) for one in found}


@dataclass(frozen=True)
class Loss:
    """The messages that a deletion costs: all that is ready in `queues`, which are of one name, in this order."""

    name: str
    queues: tuple[QueueCount, ...]

    @property
    def messages(self) -> int:
        """Number of those that are known."""
        return sum(one.ready or 0 for one in self.queues)

    @property
    def is_stream(self) -> bool:
        """True where it is a stream, whose messages are not counted."""
        return any(one.kind == STREAM for one in self.queues)

    @property
    def unknown(self) -> list[str]:
        """Names of the queues of which it is not known yet how much is in them."""
        return [one.name for one in self.queues if one.ready is None and one.name != paused_queue(self.name)]

    @property
    def is_nothing(self) -> bool:
        """True where it is known that no message is lost."""
        return not (self.messages or self.unknown or self.is_stream)

    @property
    def words(self) -> str:
        """Return the number, of what kind they are, and what is not known."""
        from cluster.terminal import counted  # which the status has no use for

        if self.is_stream:
            return "all that the stream keeps"
        kinds = {"ready": 0, "to retry": 0, "failed": 0}
        for one in self.queues:
            kinds[self._kind(one)] += one.ready or 0
        parts = [f"{count:,} {kind}" for kind, count in kinds.items() if count]
        split = f" ({', '.join(parts)})" if len(parts) > 1 or kinds["ready"] < self.messages else ""
        unknown = f" and those in {', '.join(map(repr, self.unknown))}, which are not counted yet"
        return f"{counted(self.messages, 'message')}{split}{unknown if self.unknown else ''}"

    def _kind(self, one: QueueCount) -> str:
        if one.name == self.name:
            return "ready"
        return "failed" if belongs_to(one.name, failed_queue(self.name)) else "to retry"


def beside(name: str) -> list[str]:
    """Return the names of the queues that belong to a work queue, whether they are there or not."""
    alone, *retry = side_queues(name)
    return [failed_queue(name), *retry, alone]


def belongs_to(name: str, queue: str) -> bool:
    """Tell whether a queue is one of this name, or is beside it, or beside one that is."""
    return name == queue or (name != (owner := owner_of(name)) and belongs_to(owner, queue))


def _put_together(queue: QueueCount, sides: Mapping[str, QueueCount], runs: Mapping[str, str]) -> WorkQueue:
    failed, *retry, alone = (sides.get(name, _EMPTY) for name in beside(queue.name))
    return WorkQueue(
        queue.name,
        waiting=queue.ready,
        in_work=_sum(queue.unacknowledged, alone.unacknowledged),
        to_retry=_sum(alone.ready, *(one.messages for one in retry)),
        failed=failed.messages,
        workers=queue.consumers,
        paused=paused_queue(queue.name) in sides,
        rate_in=queue.rate_in,
        run=runs.get(queue.name, ""),
    )


def _sum(*counts: int | None) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
