"""Stopping as seen from outside: the signals that ask for it, and the names of the process in `ps` meanwhile."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from scripts.event_loop import EventLoop

# Stop, but stay until told to end (`Worker.hold`). A program that does not know it does not end of it.
HOLD = signal.SIGURG

DRAINING: Final = "draining"
DRAINED: Final = "drained"

# timeout(1) sends its signal to the command and once more to the command's process group.
_ONE_SIGNAL_S = 0.1


def rename_process(name: str) -> None:
    """Give this process another name, of 15 characters at most."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name)


class StopSignals:
    """SIGTERM and SIGINT; SIGHUP (its terminal was closed), unless that is ignored as by nohup; and HOLD.

    Each is handed on by its name: to `first`, to `hold`, or to `again` where a second one is not to wait.
    """

    def __init__(
        self, loop: EventLoop, first: Callable[[str], None], again: Callable[[str], None], hold: Callable[[str], None]
    ) -> None:
        """Watch from now on; to be called from the main thread."""
        self._first, self._again = first, again
        self._first_at: float | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.watch_signal(number, partial(self._received, number.name))
        if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
            # A shell passes on what the kernel sent already: a second one never means that somebody is in a hurry.
            loop.watch_signal(signal.SIGHUP, partial(first, signal.SIGHUP.name))
        loop.watch_signal(HOLD, partial(hold, HOLD.name))

    def _received(self, name: str) -> None:
        now = time.monotonic()
        if self._first_at is None:
            self._first_at = now
            self._first(name)
        elif now - self._first_at > _ONE_SIGNAL_S:
            self._again(name)
