"""The decision that nothing of a queue is ready, in work or to be tried again, by readings of it alone.

A message is ready somewhere, or held by a consumer. A quorum queue counts each consumer that is subscribed or holds a
message, and a worker's report has all that the broker had sent to it before the question. So where the reports' sum of
subscriptions is the number of consumers and no report has anything in hand, nobody else is there and nothing is held.
What others hold, as foreign programs and workers that do not answer, is in the figures of the management API alone.

Messages move while one place after the other is looked at. So before and after the reports all is counted, and all
that is twice, a second apart, with no worker having taken anything or come or gone. A message stays in a retry queue
for a second at least, longer than a look takes; so it is met there, or in hand, or ready.

While the broker itself moves a message, from a retry queue to the work queue, it is in no count: for milliseconds, on a
broker whose disk is slow perhaps longer. So it is counted, too, what was seen to wait: workers must have taken as many
messages since. Where they have not (someone purged a queue, a worker has ended) only the API's figures are enough.

A broker that is too busy, or has just been started, says "no messages, no consumers" of a queue. It is never believed
where workers are subscribed; where there are none, or the connection was lost before, other evidence must come along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scripts.amqp.workers import Report

APART_S = 1.0

# A quorum queue tells its figures every five seconds, and the API asks every five: what it says later is new.
FIGURES_OLD_S = 12.0

# After a broker was away its queues come up one after the other.
_UP_WITHIN_S = 6.0

# A look that takes so long is none: a message may have passed a retry queue meanwhile.
_LOOK_WITHIN_S = 0.9


@dataclass(frozen=True)
class Counts:
    """Messages that are ready: in the queue, to be run alone, to be tried again; and the consumers of all of these."""

    ready: int = 0
    alone: int = 0
    to_retry: int = 0
    consumers: int = 0

    @property
    def messages(self) -> int:
        """Return all that is ready."""
        return self.ready + self.alone + self.to_retry


@dataclass(frozen=True)
class Figures:
    """The management API's numbers, up to ten seconds old: all messages, and those of them that consumers hold."""

    messages: int
    unacknowledged: int


@dataclass(frozen=True)
class Reading:
    """A look at a queue: counts, then the reports of its workers, then counts again; times are of a monotonic clock.

    `is_doubtful`: a count took so long that it may be none. `figures` are None where they were not asked for, or are
    not known. `is_quorum`: the queue counts each consumer that holds a message.
    """

    at_s: float
    ended_s: float
    before: Counts
    workers: Sequence[Report]
    after: Counts
    is_doubtful: bool = False
    figures: Figures | None = None
    is_quorum: bool = True

    @property
    def in_hand(self) -> int:
        """Return how many messages the workers that answered have in hand."""
        return sum(one.in_hand for one in self.workers)

    @property
    def all_answer(self) -> bool:
        """Tell whether the workers that answered are all who consume or hold messages."""
        subscriptions = sum(one.subscriptions for one in self.workers)
        return self.is_quorum and subscriptions == self.before.consumers == self.after.consumers

    @property
    def is_clear(self) -> bool:
        """Tell whether nothing was met."""
        messages = self.before.messages + self.after.messages + self.in_hand
        return not (messages or self.is_doubtful or self.ended_s - self.at_s > _LOOK_WITHIN_S + self._asked_s)

    @property
    def _asked_s(self) -> float:
        """Who does not answer is waited for; then the figures decide, which need no short look."""
        return 0.0 if self.all_answer else FIGURES_OLD_S


class Certainty:
    """Takes readings of one queue, in their order, and knows when they agree that all is settled."""

    def __init__(self, *, was_lost: bool = False) -> None:
        self._was_lost = was_lost
        self._clear_since_s: float | None = None
        self._met: tuple[int, frozenset[object]] | None = None
        # How many messages each worker has taken, and how many they must have taken in all; None: not known.
        self._taken: dict[tuple[str, int, float], int] = {}
        self._expected = 0

    def clear_for_s(self, now_s: float) -> float:
        """Return for how long nothing has been met."""
        return 0.0 if self._clear_since_s is None else now_s - self._clear_since_s

    def look(self, reading: Reading) -> bool:
        """Take the next reading; tell whether all is settled."""
        self._count_taken(reading)
        met = _who(reading)
        if not reading.is_clear or met != self._met:
            self._clear_since_s = reading.ended_s if reading.is_clear else None
            self._met = met
            return False
        if self._clear_since_s is None:
            self._clear_since_s = reading.ended_s
        return self.clear_for_s(reading.at_s) >= self._needed_s(reading)

    def _needed_s(self, reading: Reading) -> float:
        """Return for how long nothing must have been met."""
        is_empty = reading.figures is not None and reading.figures.messages == 0
        if not reading.all_answer:
            return FIGURES_OLD_S if is_empty else float("inf")
        if sum(self._taken.values()) < self._expected:
            return FIGURES_OLD_S
        if reading.after.consumers and not self._was_lost:
            return APART_S
        at_least_s = _UP_WITHIN_S if self._was_lost else APART_S
        return at_least_s if is_empty else FIGURES_OLD_S

    def _count_taken(self, reading: Reading) -> None:
        """Note how many messages must be taken from now on; anew where a worker has gone that may have taken some."""
        now = {(one.host, one.pid, one.since): one.taken for one in reading.workers}
        subscribed = {(one.host, one.pid, one.since) for one in reading.workers if one.subscriptions}
        if self._taken.keys() - now.keys():
            self._expected = 0
            self._taken = {}
        self._taken = {key: now[key] for key in self._taken.keys() | subscribed}
        waiting = reading.after.ready + reading.after.to_retry
        if waiting and reading.all_answer:
            self._expected = max(self._expected, sum(self._taken.values()) + waiting)


def _who(reading: Reading) -> tuple[int, frozenset[object]]:
    """Return what may not change between two readings: who consumes, and what has been taken."""
    known = frozenset((one.host, one.pid, one.since, one.taken) for one in reading.workers if one.subscriptions)
    return reading.after.consumers, known
