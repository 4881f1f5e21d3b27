"""The end of --idle: a worker that has had nothing to do for a while gives its place back."""

from __future__ import annotations

import time
from dataclasses import dataclass

from scripts.event_loop import EventLoop
from scripts.worker.worker import Worker

_LOOK_EVERY_S = 1.0


@dataclass(eq=False)
class Idle:
    """Looks again and again, and stops a worker that had nothing in hand for `limit_s`.

    Only time in which it takes messages counts: in a paused queue some may wait that are its own to do, as they may
    at a broker that is away, or for a worker that loads, or rests because all fails here.
    """

    loop: EventLoop
    worker: Worker
    limit_s: float
    _since_s: float = 0.0
    _taken: int = 0

    def start(self) -> None:
        """Begin to look."""
        self._since_s = time.monotonic()
        self._look()

    def _look(self) -> None:
        if self.worker.stopping:
            return
        now_s = time.monotonic()
        if not self.worker.waits_for_messages or self.worker.taken != self._taken:
            self._since_s, self._taken = now_s, self.worker.taken
        if now_s - self._since_s >= self.limit_s:
            self.worker.stop(f"nothing to do for {self.limit_s:g} s (--idle)")
        else:
            self.loop.call_later(min(_LOOK_EVERY_S, self.limit_s), self._look)
