"""A time limit that is set and lifted thousands of times a second and hardly ever runs out."""

from __future__ import annotations

import time
from collections.abc import Callable

from scripts.event_loop import EventLoop


class Deadline:
    """Calls `expired` with the reason it was set for, unless it is set anew or lifted before.

    The loop's timer is not touched as long as it goes off early enough: it looks then whether there is still a limit.
    """

    def __init__(self, loop: EventLoop, expired: Callable[[str], None]) -> None:
        self._loop, self._expired = loop, expired
        self._due = float("inf")
        self._reason = ""
        self._timer: object = None
        self._timer_due = float("inf")

    def set(self, seconds: float | None, reason: str) -> None:
        """So many seconds from now; None for no limit."""
        if seconds is None:
            self.lift()
            return
        self._due, self._reason = time.monotonic() + seconds, reason
        if self._due < self._timer_due:
            self._start_timer()

    def lift(self) -> None:
        """No limit from now on."""
        self._due = float("inf")

    def close(self) -> None:
        """Leave nothing on the loop."""
        self.lift()
        if self._timer is not None:
            self._loop.remove_timeout(self._timer)
        self._timer, self._timer_due = None, float("inf")

    def _start_timer(self) -> None:
        if self._timer is not None:
            self._loop.remove_timeout(self._timer)
        self._timer_due = self._due
        self._timer = self._loop.call_later(max(0.0, self._due - time.monotonic()), self._look)

    def _look(self) -> None:
        self._timer, self._timer_due = None, float("inf")
        if time.monotonic() >= self._due:
            self.lift()
            self._expired(self._reason)
        elif self._due != float("inf"):
            self._start_timer()
