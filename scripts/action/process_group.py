"""Ending a child and all it started: TERM to its process group, then KILL."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from scripts.event_loop import EventLoop

_LOOK_AGAIN_S = 0.02


class Ending:
    """TERM to the process group of `pid` now, KILL after `kill_after_s`; `ended` waits until the group is empty."""

    def __init__(self, loop: EventLoop, pid: int, kill_after_s: float) -> None:
        self._loop = loop
        self._pid = pid
        self._killed = False
        _signal_group(pid, signal.SIGTERM)
        self._timer = loop.call_later(kill_after_s, self._kill)

    def ended(self, then: Callable[[], None]) -> None:
        """The leader was reaped: call `then` when no process of its group is left."""
        if not self._killed and _signal_group(self._pid, 0):
            self._loop.call_later(_LOOK_AGAIN_S, lambda: self.ended(then))
            return
        self._loop.remove_timeout(self._timer)
        then()

    def _kill(self) -> None:
        self._killed = True
        _signal_group(self._pid, signal.SIGKILL)


def _signal_group(pid: int, number: int) -> bool:
    """False when the group has no process any more."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
