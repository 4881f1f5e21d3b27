"""What the worker does while its breaker is open: it takes one message now and then, and runs it as a probe."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from scripts.event_loop import EventLoop
from scripts.worker.breaker import Breaker
from scripts.worker.consumer import Consumer
from scripts.worker.notice import Notice

_LOOK_EVERY_S = 2.0


class Probing:
    """Looks every two seconds whether it is time for the next probe, and whether there is a message for it.

    It is always time where nobody else takes messages of the queue and this worker did some of them well: nobody gains
    by a pause there. A worker on which nothing ever succeeded makes its pauses all the same: a wrong setting that is
    left alone over a weekend must not burn the queue.
    """

    def __init__(
        self,
        loop: EventLoop,
        breaker: Breaker,
        consumer: Consumer,
        notice: Notice,
        free: Callable[[], bool],
        holding: Callable[[], bool],
    ) -> None:
        """`free`: one more can be run now; `holding`: messages are in hand."""
        self._loop = loop
        self._breaker = breaker
        self._consumer = consumer
        self._notice = notice
        self._free = free
        self._holding = holding
        self._timer: Any = None
        self._last_s = 0.0
        self._alone = False
        # A message was asked for, and has not come.
        self._asking = False

    def start(self) -> None:
        """Give the subscription up, and say why: the breaker opened."""
        self._consumer.rest()
        self._notice.show(self._breaker.why)
        self._last_s = time.monotonic()
        self._look_later()

    def end(self, hidden: Callable[[], None] = lambda: None) -> None:
        """Probe no more; `hidden` is called when nobody is told of it any more."""
        self._asking = False
        if self._timer is not None:
            self._loop.remove_timeout(self._timer)
            self._timer = None
        self._notice.hide(hidden)

    def lost(self) -> None:
        """Forget what was asked, since the connection is gone."""
        self._asking = False

    def took(self) -> bool:
        """Tell whether a message that has come is the next probe; then no other is taken."""
        asked, self._asking = self._asking, False
        if asked:
            self._consumer.rest()
        return asked

    def failed(self, is_retry: bool) -> None:
        """Decide when the next probe is due, after one that failed."""
        if not self._without_pause:
            self._last_s = time.monotonic()
            self._breaker.probe_failed()
        elif is_retry:
            # That is the message's fault rather than the host's.
            self._look()

    @property
    def _without_pause(self) -> bool:
        return self._alone and self._breaker.succeeded

    def _look_later(self) -> None:
        self._timer = self._loop.call_later(_LOOK_EVERY_S, self._tick)

    def _tick(self) -> None:
        self._look_later()
        self._look()

    def _look(self) -> None:
        if self._free() and not self._asking:
            self._consumer.look(partial(self._looked, 1 if self._holding() else 0))

    def _looked(self, ourselves: int, ready: int, consumers: int) -> None:
        """Ask for a message if it is time; as long as this worker holds others, it counts as a consumer itself."""
        self._alone = consumers <= ourselves
        due = self._without_pause or time.monotonic() >= self._last_s + self._breaker.pause_s
        if ready and due and self._timer is not None and self._free() and not self._asking:
            self._asking = self._consumer.take_one()
