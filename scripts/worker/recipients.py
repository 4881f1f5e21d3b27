"""Runs of `inv map` that are over: their items are dropped, before they are run where that can be."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pika.exceptions import ChannelClosedByBroker

from scripts.action.output import say
from scripts.amqp.queues import NOT_THERE, declare_alone
from scripts.event_loop import EventLoop, Timer
from scripts.worker.deliveries import Run
from scripts.worker.headers import RUN
from scripts.worker.results import map_run, queue_for

# How long an answer of the broker holds.
_FRESH_S = 1.0

# Of these the oldest are forgotten.
_MOST_KNOWN = 1000

_LINE_EVERY_S = 10.0


@dataclass(eq=False)
class Recipients:
    """Knows whether the queues are there to which results of runs go, and counts the items that are dropped."""

    loop: EventLoop
    _known: dict[str, tuple[float, bool]] = field(default_factory=dict)
    _asked: dict[str, list[Callable[[], None]]] = field(default_factory=dict)
    _dropped: dict[str, int] = field(default_factory=dict)
    _unsaid: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._next_line = Timer(self.loop, self.say_dropped)

    def wait_for(self, run: Run, then: Callable[[], None]) -> bool | None:
        """Tell whether anybody waits for the result of this message, which only an item's sender may have ceased to.

        None: the broker is asked first; `then` is called with its answer, unless the connection is lost.
        """
        table = run.properties.headers
        if not table or RUN not in table:
            return True
        queue = queue_for(run.properties, None)
        if queue is None:
            return True
        at, is_there = self._known.get(queue, (0.0, True))
        if at and time.monotonic() - at < _FRESH_S:
            return is_there
        self._ask(run, queue, then)
        return None

    def dropped(self, run: Run) -> None:
        """Note that an item was dropped, since the queue for its result is not there."""
        queue, name = str(queue_for(run.properties, None)), map_run(run.properties)
        self._know(queue, False)
        if name not in self._dropped:
            say(f"run {name!r} is over, its queue {queue!r} is gone: its items are dropped")
            _make_room(self._dropped)
        else:
            self._unsaid[name] = self._dropped[name] + 1
        self._dropped[name] = self._dropped.get(name, 0) + 1
        if not self._next_line.is_set:
            self._next_line.set(_LINE_EVERY_S)

    def say_dropped(self) -> None:
        """Say how many were dropped, as far as that is news."""
        self._next_line.stop()
        unsaid, self._unsaid = self._unsaid, {}
        for name, count in unsaid.items():
            say(f"run {name!r}: items dropped so far: {count}")

    def _ask(self, run: Run, queue: str, then: Callable[[], None]) -> None:
        connection = run.link.channel.connection
        if queue in self._asked:
            if then not in self._asked[queue]:
                self._asked[queue].append(then)
        elif run.link.open and connection.is_open:
            self._asked[queue] = [then]
            answered = self.loop.guard(partial(self._answered, queue))
            declare_alone(connection, answered, queue, passive=True)

    def _answered(self, queue: str, answer: Any) -> None:
        """Go on with what is known now; with a lost connection its messages are lost, and nothing is known."""
        if isinstance(answer, ChannelClosedByBroker):
            self._know(queue, answer.reply_code != NOT_THERE)
        elif not isinstance(answer, BaseException):
            self._know(queue, True)
        for then in self._asked.pop(queue):
            then()

    def _know(self, queue: str, is_there: bool) -> None:
        self._known.pop(queue, None)
        _make_room(self._known)
        self._known[queue] = (time.monotonic(), is_there)


def _make_room(known: dict[str, Any]) -> None:
    if len(known) >= _MOST_KNOWN:
        del known[next(iter(known))]
