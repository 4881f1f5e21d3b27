"""Probing while the worker's breaker is open: it takes one message now and then, and runs it as a probe."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from scripts.amqp.management import OPEN_BREAKER, OpenBreaker
from scripts.event_loop import EventLoop, Timer
from scripts.worker.breaker import Breaker
from scripts.worker.consumer import Consumer
from scripts.worker.reconnect import Locate, Reconnecting

_LOOK_EVERY_S = 2.0

# What a client says of itself has to fit into 4096 bytes.
_REASON_CHARACTERS = 300


@dataclass(eq=False)
class Probing:
    """Looks every two seconds whether it is time for the next probe, and whether there is a message for it.

    It is always time where nobody else takes messages of the queue and this worker did some of them well: nobody gains
    by a pause there. A worker on which nothing ever succeeded makes its pauses all the same: a wrong setting that is
    left alone over a weekend must not burn the queue.

    `is_free`: one more can be run now; `is_holding`: messages are in hand.
    """

    loop: EventLoop
    breaker: Breaker
    consumer: Consumer
    notice: Notice
    is_free: Callable[[], bool]
    is_holding: Callable[[], bool]
    _last_s: float = 0.0
    _alone: bool = False
    # A message was asked for, and has not come.
    _asking: bool = False

    def __post_init__(self) -> None:
        self._next_look = Timer(self.loop, self._tick)

    def start(self) -> None:
        """Give the subscription up, and say why: the breaker opened."""
        self.consumer.rest()
        self.notice.show(self.breaker.why)
        self._last_s = time.monotonic()
        self._next_look.set(_LOOK_EVERY_S)

    def end(self, hidden: Callable[[], None] = lambda: None) -> None:
        """Probe no more; `hidden` is called when the notice is gone."""
        self._asking = False
        self._next_look.stop()
        self.notice.hide(hidden)

    def lost(self) -> None:
        """Forget what was asked, since the connection is gone."""
        self._asking = False

    def took(self) -> bool:
        """Tell whether a message that has come is the next probe; then no other is taken."""
        asked, self._asking = self._asking, False
        if asked:
            self.consumer.rest()
        return asked

    def failed(self, is_retry: bool) -> None:
        """Decide when the next probe is due, after one that failed."""
        if not self._without_pause:
            self._last_s = time.monotonic()
            self.breaker.probe_failed()
        elif is_retry:
            # That is the message's fault rather than the host's.
            self.look()

    def look(self) -> None:
        """Look now whether there is a message for a probe."""
        if self.is_free() and not self._asking:
            self.consumer.look(partial(self._looked, 1 if self.is_holding() else 0))

    @property
    def _without_pause(self) -> bool:
        return self._alone and self.breaker.succeeded

    def _tick(self) -> None:
        self._next_look.set(_LOOK_EVERY_S)
        self.look()

    def _looked(self, ourselves: int, ready: int, consumers: int) -> None:
        """Ask for a message if it is time; as long as this worker holds others, it counts as a consumer itself."""
        self._alone = consumers <= ourselves
        due = self._without_pause or time.monotonic() >= self._last_s + self.breaker.pause_s
        if ready and due and self._next_look.is_set and self.is_free() and not self._asking:
            self._asking = self.consumer.take_one()


@dataclass(eq=False)
class Notice:
    """The notice that this worker takes nothing: a connection whose properties say so, for `./inv status`."""

    loop: EventLoop
    locate: Locate
    queue: str
    _connection: Reconnecting | None = None

    def show(self, reason: str) -> None:
        """Say at the broker since when, and why."""
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        notice = OpenBreaker(self.queue, socket.gethostname(), str(os.getpid()), since, reason[:_REASON_CHARACTERS])
        self._connection = Reconnecting(
            self.loop, self.locate, "open breaker", self._opened, lambda: None, {OPEN_BREAKER: asdict(notice)}
        )
        self._connection.start()

    def hide(self, hidden: Callable[[], None] = lambda: None) -> None:
        """Say it no more, then call `hidden`."""
        connection, self._connection = self._connection, None
        if connection is None:
            hidden()
        else:
            connection.close(hidden)

    def _opened(self, _connection: Any, _where: str) -> None:
        if self._connection is not None:
            self._connection.works()
