"""Signals that stop the worker: the first lets running actions finish, a second one does not wait."""

from __future__ import annotations

import signal
import time
from functools import partial

from scripts.action.output import say
from scripts.event_loop import EventLoop
from scripts.worker.draining import HOLD
from scripts.worker.worker import Worker

# timeout(1) sends its signal to the command and once more to the command's process group.
_ONE_SIGNAL_S = 0.1


class StopSignals:
    """SIGTERM and SIGINT; SIGHUP (its terminal was closed), unless that is ignored as by nohup; and HOLD."""

    def __init__(self, loop: EventLoop, worker: Worker) -> None:
        """Watch from now on; to be called from the main thread."""
        self._worker = worker
        self._first_at: float | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.watch_signal(number, partial(self._received, number.name))
        if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
            # A shell passes on what the kernel sent already: a second one never means that somebody is in a hurry.
            loop.watch_signal(signal.SIGHUP, partial(self._stop, signal.SIGHUP.name))
        loop.watch_signal(HOLD, partial(worker.hold, HOLD.name))

    def _received(self, name: str) -> None:
        now = time.monotonic()
        if self._first_at is None:
            self._first_at = now
            self._stop(name)
        elif now - self._first_at > _ONE_SIGNAL_S:
            self._worker.stop(name)

    def _stop(self, name: str) -> None:
        if self._worker.held:
            self._worker.release(name)
        elif self._worker.stopping:
            say(f"{name}: stopping already; a second signal ends what runs")
        else:
            self._worker.stop(name)
