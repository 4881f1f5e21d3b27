"""The end of a child and of all it started: TERM to its process group, then KILL."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial

from scripts.event_loop import EventLoop, Timer

_LOOK_AGAIN_S = 0.02


class Ending:
    """TERM to the process group of `pid` now, KILL after `kill_after_s`; `ended` waits until the group is empty."""

    def __init__(self, loop: EventLoop, pid: int, kill_after_s: float) -> None:
        self._loop = loop
        self._pid = pid
        self._kill_timer = Timer(loop, partial(_signal_group, pid, signal.SIGKILL))
        self._kill_timer.set(kill_after_s)
        _signal_group(pid, signal.SIGTERM)

    def ended(self, then: Callable[[], None]) -> None:
        """Call `then` when no process of the group is left, its leader being reaped; or when KILL was sent."""
        if self._kill_timer.is_set and _signal_group(self._pid, 0):
            self._loop.call_later(_LOOK_AGAIN_S, lambda: self.ended(then))
            return
        self._kill_timer.stop()
        then()


def _signal_group(pid: int, number: int) -> bool:
    """Return whether the group still has a process."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
