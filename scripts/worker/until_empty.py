"""The end of --until-empty: a stop when nothing is left to be done, by this worker or any other.

AMQP tells at once how many messages are ready, and how many consumers a queue has. A quorum queue keeps each message
that is not ready with the consumer that holds it, and counts that one until it has settled all, cancelled or not. So a
quorum queue without ready messages is empty when its only consumer is this worker, which is idle: certain at once.

What other consumers hold is only in the figures of the management API, which are up to ten seconds old. To know that
they are new a second subscription of this worker is their mark: a quorum queue reports messages and consumers of one
moment together. Figures without the mark count when so much time has passed that they must be new.

What the broker itself moves, from a retry queue to the work queue, is in neither for about a millisecond. So everything
is read twice, a second apart; in between the broker answers to the second subscription, when all is written that it
had to write to the queue before. What was seen to wait in a retry queue must have come to this worker, or else others
have it, and their figures are asked for. A broker that is too busy says "no messages, no consumers", which is never
believed of the work queue: this worker is missing there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from scripts.action.output import say
from scripts.amqp.management import Management, QueueFigures, locate_management
from scripts.amqp.queues import Counted, count, failed_queue, side_queues
from scripts.errors import ClusterError, MessagesFailed, ServiceAway
from scripts.event_loop import EventLoop, in_thread
from scripts.worker.options import Options
from scripts.worker.worker import Worker

_LOOK_EVERY_S = 0.3
_LOOK_FOR_OTHERS_EVERY_S = 1.0
_READINGS_APART_S = 1.0

# A quorum queue tells its figures every five seconds, and the API asks every five: what it says later is new.
_FIGURES_OLD_S = 12.0

# The API comes up after AMQP does, may be away for a moment, and has no numbers for a queue that is new.
_API_AWAY_S = 20.0

# A batch whose broker stays away for so long ends with an error.
BROKER_AWAY_S = 300.0


@dataclass(frozen=True)
class _Mark:
    """The second subscription: since when, and how many consumers there were before.

    `is_new`: no figures from before it can show so many consumers.
    """

    at: float
    consumers: int
    is_new: bool


@dataclass(eq=False)
class UntilEmpty:
    """Looks again and again, and stops the worker after readings that agree that nothing is left."""

    loop: EventLoop
    options: Options
    worker: Worker
    _api_works: bool = True
    _api_failed_at: float | None = None
    # When nothing seemed to be left for the first time, and how many messages we had taken then.
    _clear_at: float | None = None
    _taken_before: int = 0
    # How many we shall have taken when all that was seen to wait in the side queues has come.
    _expected: int = 0
    _mark: _Mark | None = None
    _broker_seen_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._consumer, self._queue = self.worker.consumer, self.options.queue
        self._side_queues = side_queues(self._queue)

    def start(self, look_after_s: float = _LOOK_EVERY_S) -> None:
        """Begin to look."""
        self.loop.call_later(look_after_s, self._look)

    def _look(self) -> None:
        if self.worker.stopping:
            return
        is_connected = self._consumer.connection is not None
        if is_connected or not self._consumer.started:
            # None is looked for as long as a kept-alive action loads.
            self._broker_seen_at = time.monotonic()
        elif time.monotonic() - self._broker_seen_at > BROKER_AWAY_S:
            self.worker.stop(f"no broker for {BROKER_AWAY_S:g} s", ServiceAway.exit_code)
        if is_connected and self.worker.idle:
            self._count([self._queue], self._counted)
        else:
            self._differs()

    def _counted(self, work: Counted) -> None:
        connection = self._consumer.connection
        if work.ready or connection is None:
            self._differs()
        elif self._api_works:
            ask = partial(_ask, connection.params, self.options.management, self._queue)
            in_thread(self.loop, ask, partial(self._asked, work), self._no_api)
        else:
            self._count(self._side_queues, self._without_api)

    def _asked(self, work: Counted, answer: tuple[Management, QueueFigures]) -> None:
        """Go on to the side queues, if nothing can be left in the work queue."""
        management, figures = answer
        if self._is_alone(work, figures) or figures.messages == 0:
            self._api_failed_at = None
            there = partial(_which_are_there, management, self._side_queues)
            in_thread(self.loop, there, partial(self._count_side_queues, work, figures), self._no_api)
        elif figures.messages is None:
            self._no_api(f"the management API at {management.url} has no numbers for queue {self._queue!r}")
        else:
            self._differs(_LOOK_FOR_OTHERS_EVERY_S)

    def _count_side_queues(self, work: Counted, figures: QueueFigures, there: list[str]) -> None:
        self._count(there, lambda side: self._read(work, figures, side))

    def _no_api(self, reason: str) -> None:
        now = time.monotonic()
        self._api_failed_at = self._api_failed_at or now
        self._api_works = now - self._api_failed_at < _API_AWAY_S
        self._forget()
        if self._api_works:
            self.start(_LOOK_FOR_OTHERS_EVERY_S)
        else:
            say(f"{reason}; --until-empty speaks for this worker's own work only (--management names another)")
            self._look()

    def _without_api(self, side: Counted) -> None:
        if self._is_clear(side) and self._clear_for_s() >= _READINGS_APART_S:
            self._count([failed_queue(self._queue)], self._finish)
        else:
            self.start(_LOOK_FOR_OTHERS_EVERY_S)

    def _read(self, work: Counted, figures: QueueFigures, side: Counted) -> None:
        if not self._is_clear(side):
            self.start()
        elif self._is_certain(work, figures):
            self._count([failed_queue(self._queue)], self._finish)
        else:
            is_new = self._see_to_mark(work, figures)
            self.start(_READINGS_APART_S if is_new else _LOOK_EVERY_S)

    def _is_clear(self, side: Counted) -> bool:
        """Return whether this reading shows nothing, and agrees with those before."""
        self._expected = max(self._expected, self.worker.taken + side.ready)
        if side != Counted() or not self.worker.idle or self._taken_before != self.worker.taken:
            self._forget()
            self._taken_before = self.worker.taken
            return False
        self._clear_at = self._clear_at or time.monotonic()
        return True

    def _clear_for_s(self) -> float:
        return time.monotonic() - self._clear_at if self._clear_at is not None else 0.0

    def _is_alone(self, work: Counted, figures: QueueFigures) -> bool:
        """Return whether no other consumer is there, and nobody else holds messages of the queue."""
        return figures.is_quorum and 1 <= work.consumers <= (2 if self._mark else 1)

    def _is_certain(self, work: Counted, figures: QueueFigures) -> bool:
        mark = self._mark
        if mark and time.monotonic() - mark.at >= _READINGS_APART_S and work.consumers > mark.consumers:
            is_alone = figures.is_quorum and work.consumers == 2 and mark.consumers == 1
            if is_alone and self.worker.taken >= self._expected:
                return True
            if mark.is_new and figures.consumers == work.consumers and figures.all_at_once == 0:
                return True
        return self._clear_for_s() >= _FIGURES_OLD_S and figures.messages == 0

    def _see_to_mark(self, work: Counted, figures: QueueFigures) -> bool:
        """Set the mark where it tells something, and anew when consumers came or went; return whether it was set."""
        now, mark, others = time.monotonic(), self._mark, work.consumers - (self._mark is not None)
        is_new = figures.consumers is not None and figures.consumers <= others
        if mark is None:
            if (others == 1 or is_new) and self._consumer.subscribe_again():
                self._mark = _Mark(now, others, is_new)
        elif others == 1 != mark.consumers:
            self._mark = _Mark(now, 1, is_new=False)
        elif others < mark.consumers and now - mark.at > _READINGS_APART_S:
            # Older figures may show as many. (Where some have come, those show more than any from before the mark.)
            self._remove_mark()
        return self._mark is not mark and self._mark is not None

    def _remove_mark(self) -> None:
        if self._mark is not None:
            self._mark = None
            self._consumer.unsubscribe_again()

    def _forget(self) -> None:
        self._clear_at = None
        self._remove_mark()

    def _differs(self, look_after_s: float = _LOOK_EVERY_S) -> None:
        """Look again later: not empty, or not sure. Readings, and the API's failures, are counted anew."""
        self._api_failed_at = None
        self._forget()
        self.start(look_after_s)

    def _finish(self, failed: Counted) -> None:
        if self.worker.stopping:
            # A signal came while the broker was asked; a second stop would end what runs.
            return
        failures = max(failed.ready - (self._consumer.failed_before or 0), self.worker.settler.failed)
        if failures:
            messages = "1 message is" if failures == 1 else f"{failures} messages are"
            text = f"queue {self._queue!r} is done, but {messages} in {failed_queue(self._queue)!r}"
            self.worker.stop(text, MessagesFailed.exit_code)
        else:
            self.worker.stop(f"queue {self._queue!r} is empty and all is done")

    def _count(self, names: list[str], counted: Callable[[Counted], None]) -> None:
        """Count the messages of all these queues; when the connection is lost meanwhile, look again later."""

        def answered(found: Counted | None) -> None:
            if found is None:
                self._differs()
            else:
                counted(found)

        connection = self._consumer.connection
        if connection is None:
            self._differs()
        else:
            count(connection, names, self.loop.guard(answered))


def _ask(parameters: Any, where: str | None, name: str) -> tuple[Management, QueueFigures]:
    management = locate_management(parameters, where)
    found = management.queue(name)
    if found is None:
        raise ClusterError(f"the management API at {management.url} does not know queue {name!r}")
    return management, found


def _which_are_there(management: Management, names: list[str]) -> list[str]:
    return [name for name in names if management.queue(name) is not None]
