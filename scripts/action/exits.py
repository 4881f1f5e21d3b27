"""The exits of children: noticing them, bringing them about, and the reasons for them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial

from scripts.action.cgroup import OutOfMemoryKills
from scripts.event_loop import EventLoop, Timer

_LOOK_AGAIN_S = 0.02

# Called with the status that waitpid returned.
Exited = Callable[[int], None]


class PidfdWatch:
    """A pidfd for each child (Linux 5.3 and newer)."""

    def __init__(self, loop: EventLoop) -> None:
        self._loop = loop

    def watch(self, pid: int, exited: Exited) -> None:
        """Reap the child when it exits, then call `exited`."""
        pidfd = os.pidfd_open(pid)

        def readable(_descriptor: int, _events: int) -> None:
            self._loop.remove_handler(pidfd)
            os.close(pidfd)
            exited(os.waitpid(pid, 0)[1])

        self._loop.add_handler(pidfd, readable, self._loop.READ)


class SigchldWatch:
    """SIGCHLD, and a look at every child that is watched."""

    def __init__(self, loop: EventLoop) -> None:
        self._watched: dict[int, Exited] = {}
        self._loop = loop
        loop.watch_signal(signal.SIGCHLD, self._look)

    def watch(self, pid: int, exited: Exited) -> None:
        """Reap the child when it exits, then call `exited`."""
        self._watched[pid] = exited
        # It may have exited before anyone watched.
        self._loop.add_callback_threadsafe(self._look)

    def _look(self) -> None:
        for pid in list(self._watched):
            reaped, status = os.waitpid(pid, os.WNOHANG)
            if reaped:
                self._watched.pop(pid)(status)


ExitWatch = PidfdWatch | SigchldWatch


def exit_watch(loop: EventLoop) -> ExitWatch:
    """Return the better watch of those that work here: a sandbox may have an old kernel or forbid pidfd_open."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return SigchldWatch(loop)
    return PidfdWatch(loop)


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


def exit_reason(code: int, out_of_memory: OutOfMemoryKills) -> str:
    """Return `exit 3` or `killed by SIGKILL`; a code below 0 is a signal's, as of os.waitstatus_to_exitcode."""
    # A shell says 128 + the number of the signal that ended its child.
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL) and out_of_memory.happened():
        return "out of memory: killed by the kernel"
    return f"exit {code}" if code >= 0 else f"killed by {_name(-code)}"


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
