"""The start of a program: exactly the descriptors it is given, default signals, a session of its own."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from scripts.event_loop import EventLoop

# Python ignores these two, and a child would inherit that; programs expect to be ended by them.
_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ)

# In the flags of /proc/PID/stat: still our program, not yet its own (PF_FORKNOEXEC of the kernel's sched.h).
_NOT_EXECUTED = 0x40


def spawn_piped(argv: Sequence[str], environment: Mapping[str, str], outputs: int) -> tuple[int, list[int]]:
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


def spawn(argv: Sequence[str], environment: Mapping[str, str], files: Sequence[int]) -> int:
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
    if isinstance(error, OSError) and error.errno == errno.ENOEXEC:
        reason = (
            "it is no program of this machine, and no script whose first line names its interpreter, such as #!/bin/sh"
        )
    else:
        reason = getattr(error, "strerror", None) or str(error)
    return f"{path} cannot be started: {reason}"
