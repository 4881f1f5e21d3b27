"""SIGINT, SIGTERM and SIGHUP while a task runs: the first ends it in order, one that comes later ends it at once."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import Any

# Fingers press Ctrl-C twice, and timeout(1) sends its signal twice, where one is meant.
ONE_SIGNAL_S = 1.0

_SHOW_CURSOR = "\x1b[?25h"  # a live table or line has hidden it


class Interruption:
    """While entered, the first of these signals is a KeyboardInterrupt; `number` is that of the signal, else 0.

    After that it stays in charge until the process ends: an exception in the middle of tidying up would leave half
    of it undone, and one at the very end would print a traceback. Signals that are ignored stay so, and in a thread
    other than the main one nothing changes.
    """

    def __init__(self) -> None:
        self.number = 0
        self._at = 0.0
        self._before: dict[int, Any] = {}

    @property
    def exit_code(self) -> int:
        """The shell's for the signal; 0 while none came."""
        return 128 + self.number if self.number else 0

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._came)
        return self

    def __exit__(self, *_: object) -> None:
        if not self.number:
            for number, before in self._before.items():
                signal.signal(number, before)

    def _came(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.number:
            self._at, self.number = now, number
            atexit.register(self._ignore)
            raise KeyboardInterrupt(number)  # whichever it is: what tidies up after Ctrl-C does so then, too
        if now - self._at > ONE_SIGNAL_S and number != signal.SIGHUP:  # of which a closed terminal sends several
            self._end_at_once()

    def _ignore(self) -> None:
        """In its last moments Python gives up its handlers, and a signal would take the place of the exit code."""
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)

    def _end_at_once(self) -> None:
        """Nothing is tidied up; what another machine was told to do it may go on with."""
        words = "error: interrupted again: ended at once; what was begun on hosts may go on there\n"
        with suppress(OSError):
            os.write(2, f"{_SHOW_CURSOR if sys.__stderr__ and sys.__stderr__.isatty() else ''}{words}".encode())
        os._exit(self.exit_code)
