"""Signals as a wish to stop that a long task looks at, instead of an exception in the middle of it."""

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


class HungUp(Interrupted):
    """SIGHUP, as of a terminal that was closed; the exit code is the shell's for it."""

    exit_code = 128 + signal.SIGHUP


_KINDS = {signal.SIGINT: Interrupted, signal.SIGTERM: Terminated, signal.SIGHUP: HungUp}


class Signals:
    """While entered, a first signal is noted in `came`; a second one is a KeyboardInterrupt, for the impatient.

    A terminal that is closed may send several. Signals that are ignored stay so (nohup), and in a thread other than the
    main one nothing changes. Within others, it begins with what has come to them.
    """

    def __init__(self) -> None:
        self.came: type[Interrupted] | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            taken = [number for number in _KINDS if signal.getsignal(number) != signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._note) for number in taken}
            around = [getattr(handler, "__self__", None) for handler in self._before.values()]
            self.came = next((one.came for one in around if isinstance(one, Signals)), None)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if not self.came:
            self.came = _KINDS[signal.Signals(number)]
        elif number != signal.SIGHUP:
            raise KeyboardInterrupt
