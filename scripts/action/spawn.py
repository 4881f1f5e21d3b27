"""Starting a program: exactly the descriptors it is given, signals as they are by default, a group of its own."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from collections.abc import Mapping, Sequence

# Python ignores these two, and a child would inherit that; programs expect to be ended by them.
_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ)


def spawn(argv: Sequence[str], environment: Mapping[str, str], files: Sequence[int]) -> int:
    """Start `argv` (its first word a path) with files[n] of ours as its descriptor n; returns its process id.

    Raises:
        OSError, ValueError: it cannot be started.
    """
    # A source below len(files) could be overwritten by the dup2 of another one before its own turn.
    sources = [fd if fd >= len(files) else fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, len(files)) for fd in files]
    try:
        return os.posix_spawn(
            argv[0],
            list(argv),
            environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, source, target) for target, source in enumerate(sources)],
            setpgroup=0,
            setsigdef=_DEFAULT_SIGNALS,
        )
    finally:
        for copy in set(sources) - set(files):
            os.close(copy)


def why_unstartable(path: str, error: Exception) -> str:
    """What a person should know of an error of `spawn`, or of making the pipes for it."""
    if isinstance(error, OSError) and error.errno == errno.ENOEXEC:
        reason = (
            "it is no program of this machine, and no script whose first line names its interpreter, such as #!/bin/sh"
        )
    else:
        reason = getattr(error, "strerror", None) or str(error)
    return f"{path} cannot be started: {reason}"
