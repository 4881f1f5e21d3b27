"""SIGINT and SIGTERM as a wish to stop that a long task looks at, instead of an exception in the middle of it."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from scripts.errors import ClusterError


class Interrupted(ClusterError):
    """Ctrl-C; the exit code is the shell's for SIGINT."""

    exit_code = 128 + signal.SIGINT


class Terminated(Interrupted):
    """SIGTERM; the exit code is the shell's for it."""

    exit_code = 128 + signal.SIGTERM


class Signals:
    """While entered, a first signal is noted in `came`; a second one is a KeyboardInterrupt, for the impatient.

    In a thread other than the main one signals stay as they are.
    """

    def __init__(self) -> None:
        self.came: type[Interrupted] | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.came:
            raise KeyboardInterrupt
        self.came = Interrupted if number == signal.SIGINT else Terminated
