"""A process in a group of its own: started, watched by the event loop, ended with all that it started."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# How often to look for the end of a process where the kernel has no pidfd (before Linux 5.3, some sandboxes).
LOOK_EVERY_S = 0.02

# Python ignores these, and a child would inherit it: `yes | head` would never end.
_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ)


@dataclass(frozen=True)
class Ending:
    """How a process ended: by itself with an exit code, or by a signal."""

    exit_code: int | None
    signal: int | None

    @classmethod
    def of(cls, wait_status: int) -> Ending:
        """Read what waitpid returned."""
        code = os.waitstatus_to_exitcode(wait_status)
        return cls(code, None) if code >= 0 else cls(None, -code)

    def __str__(self) -> str:
        if self.signal is None:
            return f"exit code {self.exit_code}"
        return f"signal {self.signal} ({_signal_name(self.signal)})"


class Spawned:
    """A running process, leader of a session and process group.

    `files[n]` of ours is its descriptor n; it gets no others. `ended` is called once, from the loop, after the whole
    group was killed when `with_group`, and after the process was reaped.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(
        self,
        loop: Any,
        command: Sequence[str],
        environment: Mapping[str, str],
        files: Sequence[int],
        ended: Callable[[Ending], None],
        with_group: bool = True,
    ) -> None:
        self._loop, self._ended, self._with_group = loop, ended, with_group
        self._timer: Any = None
        self._running = True
        self.pid = _spawn(command, environment, files)
        self._watch()

    def terminate(self, kill_after_s: float) -> None:
        """TERM to the group now, KILL when it is still there after so many seconds."""
        self._signal(signal.SIGTERM)
        if self._running and self._timer is None:
            self._timer = self._loop.call_later(kill_after_s, self.kill)

    def kill(self) -> None:
        """KILL to the group."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._running:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def _watch(self) -> None:
        try:
            pidfd = os.pidfd_open(self.pid)
        except (OSError, AttributeError):
            self._loop.call_later(LOOK_EVERY_S, self._look)
        else:
            self._loop.add_handler(pidfd, self._exited, self._loop.READ)

    def _look(self) -> None:
        if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            self._loop.call_later(LOOK_EVERY_S, self._look)
        else:
            self._reap()

    def _exited(self, pidfd: int, _events: int) -> None:
        self._loop.remove_handler(pidfd)
        os.close(pidfd)
        self._reap()

    def _reap(self) -> None:
        # Before the reaping: until then nobody else can have this process id.
        if self._with_group:
            self.kill()
        self._running = False
        if self._timer is not None:
            self._loop.remove_timeout(self._timer)
        self._ended(Ending.of(os.waitpid(self.pid, 0)[1]))


def _spawn(command: Sequence[str], environment: Mapping[str, str], files: Sequence[int]) -> int:
    # A source below len(files) could be overwritten by the dup2 of another one before its turn.
    sources = [fd if fd >= len(files) else fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, len(files)) for fd in files]
    try:
        return os.posix_spawnp(
            command[0],
            tuple(command),
            environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, source, target) for target, source in enumerate(sources)],
            setsid=True,
            setsigmask=(),
            setsigdef=_DEFAULT_SIGNALS,
        )
    finally:
        for copy in set(sources) - set(files):
            os.close(copy)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "real-time"
