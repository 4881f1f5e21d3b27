"""The end of --until-empty: a stop when nothing is left to be done, by this worker or any other."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from scripts.action.output import say
from scripts.amqp.management import Management, management_of
from scripts.amqp.queues import count_ready, failed_queue, side_queues
from scripts.errors import ClusterError, MessagesFailed, ServiceAway
from scripts.event_loop import EventLoop, in_thread
from scripts.worker.options import Options
from scripts.worker.worker import Worker

# The API's numbers are up to ten seconds old: the second reading must not rest on any from before the first.
_READINGS_APART_S = 12.0
_LOOK_EVERY_S = 1.0

# The API comes up after AMQP does, may be away for a moment, and has no numbers for a queue that is new.
_API_AWAY_S = 20.0

# A batch whose broker stays away for so long ends with an error.
BROKER_AWAY_S = 300.0


@dataclass(eq=False)
class UntilEmpty:
    """Looks every second, and stops the worker after two readings that agree that nothing is left."""

    loop: EventLoop
    options: Options
    worker: Worker
    _api_works: bool = True
    _api_failed_at: float | None = None
    # How many messages we had taken when nothing seemed to be left.
    _taken_before: int | None = None
    _broker_seen_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._consumer, self._queue = self.worker.consumer, self.options.queue

    def start(self) -> None:
        """Begin to look."""
        self.loop.call_later(_LOOK_EVERY_S, self._look)

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

    def _counted(self, ready: int) -> None:
        connection = self._consumer.connection
        if ready or connection is None:
            self._differs()
        elif self._api_works:
            management = management_of(connection.params, self.options.management)
            names = [self._queue, *side_queues(self._queue)]
            in_thread(self.loop, lambda: _ask(management, names), self._asked, self._no_api)
        else:
            self._count(side_queues(self._queue), self._read)

    def _asked(self, answer: tuple[list[str], int]) -> None:
        """Count what is ready in the queues that the API knows: AMQP tells that without delay."""
        self._api_failed_at = None
        there, unacknowledged = answer
        self._count(there, lambda ready: self._read(ready + unacknowledged))

    def _no_api(self, reason: str) -> None:
        now = time.monotonic()
        self._api_failed_at = self._api_failed_at or now
        self._api_works = now - self._api_failed_at < _API_AWAY_S
        if self._api_works:
            self._taken_before = None
            self.start()
        else:
            say(f"{reason}; --until-empty speaks for this worker's own work only (--management names another)")
            self._look()

    def _read(self, left: int) -> None:
        if left or not self.worker.idle:
            self._differs()
        elif self._taken_before == self.worker.taken:
            self._count([failed_queue(self._queue)], self._finish)
        else:
            self._taken_before = self.worker.taken
            self.loop.call_later(_READINGS_APART_S if self._api_works else _LOOK_EVERY_S, self._look)

    def _differs(self) -> None:
        """Look again later: not empty, or not sure. Readings, and the API's failures, are counted anew."""
        self._taken_before = self._api_failed_at = None
        self.start()

    def _finish(self, failed: int) -> None:
        if self.worker.stopping:
            # A signal came while the broker was asked; a second stop would end what runs.
            return
        failures = max(failed - (self._consumer.failed_before or 0), self.worker.settler.failed)
        if failures:
            text = f"queue {self._queue!r} is done, but {failures} messages are in {failed_queue(self._queue)!r}"
            self.worker.stop(text, MessagesFailed.exit_code)
        else:
            self.worker.stop(f"queue {self._queue!r} is empty and all is done")

    def _count(self, names: list[str], counted: Callable[[int], None]) -> None:
        """Count the ready messages of all these queues; when the connection is lost meanwhile, look again later."""

        def answered(count: int | None) -> None:
            if count is None:
                self._differs()
            else:
                counted(count)

        connection = self._consumer.connection
        if connection is None:
            self._differs()
        else:
            count_ready(connection, names, self.loop.guard(answered))


def _ask(management: Management, names: list[str]) -> tuple[list[str], int]:
    """Return those of the queues that there are, and how many messages of them are unacknowledged."""
    found = {name: management.unacknowledged(name) for name in names}
    there = {name: count for name, count in found.items() if count is not None}
    if names[0] not in there:
        raise ClusterError(f"the management API at {management.url} does not know queue {names[0]!r}")
    return list(there), sum(there.values())
