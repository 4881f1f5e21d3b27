"""Children: their start, and their exits, which are noticed, brought about and explained."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from scripts.action.cgroup import OutOfMemoryKills
from scripts.event_loop import EventLoop, Timer

# Python ignores these two, and a child would inherit that; programs expect to be ended by them.
_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ)

# In the flags of /proc/PID/stat: still our program, not yet its own (PF_FORKNOEXEC of the kernel's sched.h).
_NOT_EXECUTED = 0x40

_LOOK_AGAIN_S = 0.02

# Called with the status that wait4 returned, and the most memory that the child, or one that it has reaped, ever had,
# in KiB; of a small one that is our own, with which it began.
Exited = Callable[[int, int], None]

# Reaps the child with this process id when it exits, then calls the other.
ExitWatch = Callable[[int, Exited], None]


def spawn_piped(argv: Sequence[str | bytes], environment: Mapping[str, str], outputs: int) -> tuple[int, list[int]]:
    """Start `argv` with pipes as its STDIN and so many outputs; return its process id and our ends, in this order."""
    ours: list[int] = []
    theirs: list[int] = []
    try:
        for number in range(1 + outputs):
            reading, writing = os.pipe()
            ours.append(reading if number else writing)
            theirs.append(writing if number else reading)
        return spawn(argv, environment, theirs), ours
    except BaseException:
        for fd in ours:
            os.close(fd)
        raise
    finally:
        for fd in theirs:
            os.close(fd)


def spawn(argv: Sequence[str | bytes], environment: Mapping[str, str], files: Sequence[int]) -> int:
    """Start `argv` (its first word a path) with files[n] of ours as its descriptor n; return its process id.

    Its session has no terminal: what asks for a password there gets an error, where it would be stopped and never end.

    Raises:
        OSError, ValueError: it cannot be started.
    """
    # A source below len(files) could be overwritten by the dup2 of another one before its own turn.
    sources = [fd if fd >= len(files) else fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, len(files)) for fd in files]
    try:
        while True:
            caught = EventLoop.caught
            pid = os.posix_spawn(
                argv[0],
                list(argv),
                environment,
                file_actions=[(os.POSIX_SPAWN_DUP2, source, target) for target, source in enumerate(sources)],
                setsid=True,
                setsigdef=_DEFAULT_SIGNALS,
            )
            # A signal to our group (Ctrl-C) ends a child that is not yet out of it; the program was never started then.
            if EventLoop.caught == caught or _was_executed(pid):
                return pid
            os.waitpid(pid, 0)
    finally:
        for copy in set(sources) - set(files):
            os.close(copy)


def _was_executed(pid: int) -> bool:
    """Return whether the child, which may have ended meanwhile, ever became its own program."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        # It is about to become its own program, or to end: we may go on a moment before the kernel has noted which.
        while int(stat.read_bytes().rpartition(b")")[2].split()[6]) & _NOT_EXECUTED:
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                return False
    except OSError:
        # There is no /proc here.
        pass
    return True


def why_unstartable(path: str, error: Exception) -> str:
    """Return the line for a person on an error of `spawn`, or of making the pipes for it."""
    reason = getattr(error, "strerror", None) or str(error)
    if isinstance(error, OSError) and error.errno == errno.ENOEXEC:
        reason = "it is no program of this machine, nor a script whose first line names one, such as #!/bin/sh"
    return f"{path} cannot be started: {reason}"


def exit_watch(loop: EventLoop) -> ExitWatch:
    """Return the better watch of those that work here: a sandbox may have an old kernel or forbid pidfd_open."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return sigchld_watch(loop)
    return pidfd_watch(loop)


def pidfd_watch(loop: EventLoop) -> ExitWatch:
    """Watch by a pidfd for each child (Linux 5.3 and newer)."""

    def watch(pid: int, exited: Exited) -> None:
        pidfd = os.pidfd_open(pid)

        def readable(_descriptor: int, _events: int) -> None:
            loop.remove_handler(pidfd)
            os.close(pidfd)
            _, status, used = os.wait4(pid, 0)
            exited(status, used.ru_maxrss)

        loop.add_handler(pidfd, readable, loop.READ)

    return watch


def sigchld_watch(loop: EventLoop) -> ExitWatch:
    """Watch by SIGCHLD, and a look at every child that is watched."""
    watched: dict[int, Exited] = {}

    def look() -> None:
        for pid in list(watched):
            reaped, status, used = os.wait4(pid, os.WNOHANG)
            if reaped:
                watched.pop(pid)(status, used.ru_maxrss)

    def watch(pid: int, exited: Exited) -> None:
        watched[pid] = exited
        # It may have exited before anyone watched.
        loop.add_callback_threadsafe(look)

    loop.watch_signal(signal.SIGCHLD, look)
    return watch


class Ending:
    """TERM to the process group of `pid` now, KILL after `kill_after_s`; `ended` waits until the group is empty."""

    def __init__(self, loop: EventLoop, pid: int, kill_after_s: float) -> None:
        self._loop = loop
        self._pid = pid
        self._kill_timer = Timer(loop, partial(_signal_group, pid, signal.SIGKILL))
        self._kill_timer.set(kill_after_s)
        _signal_group(pid, signal.SIGTERM)

    def kill(self) -> None:
        """Send KILL now."""
        self._kill_timer.stop()
        _signal_group(self._pid, signal.SIGKILL)

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
    if code >= 0:
        return f"exit {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
