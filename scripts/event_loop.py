"""The event loop: pika's own, with signals, threads, and errors that are not swallowed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from pika.adapters.select_connection import IOLoop

from scripts.background import in_background
from scripts.errors import ClusterError


class EventLoop(IOLoop):  # type: ignore[misc]
    """pika's IOLoop. What pika calls goes through `guard`, since pika turns our bugs into lost connections.

    `caught` counts this process's signals, at once, before the loop comes to them.
    """

    caught = 0

    def __init__(self) -> None:
        super().__init__()
        self._crash: BaseException | None = None
        self._on_signal: dict[int, Callable[[], None]] = {}

    def run(self) -> None:
        """Run until `stop`; an error in a guarded callback ends it and is raised here."""
        self.start()
        if self._crash is not None:
            raise self._crash

    def guard(self, callback: Callable[..., None]) -> Callable[..., None]:
        """Return the callback as pika is to have it: an error in it ends the loop instead of the connection."""

        def guarded(*args: Any, **kwargs: Any) -> None:
            try:
                callback(*args, **kwargs)
            except BaseException as error:
                self._crash = self._crash or error
                self.stop()

        return guarded

    def watch_signal(self, number: signal.Signals, callback: Callable[[], None]) -> None:
        """Call this from the loop whenever the signal arrives; to be called from the main thread."""
        if not self._on_signal:
            readable, writable = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
            self.add_handler(readable, self._signals_arrived, self.READ)
        self._on_signal[number] = callback
        signal.signal(number, _count)

    def _signals_arrived(self, readable: int, _events: int) -> None:
        for number in os.read(readable, 512):
            if number in self._on_signal:
                self._on_signal[number]()


def _count(_number: int, _frame: Any) -> None:
    EventLoop.caught += 1


class Timer:
    """A call of `expired` after a while, unless it is set anew or stopped before."""

    def __init__(self, loop: IOLoop, expired: Callable[..., object]) -> None:
        self._loop, self._expired = loop, expired
        self._timeout: object = None

    @property
    def is_set(self) -> bool:
        """True while the call is still to come."""
        return self._timeout is not None

    def set(self, seconds: float, *arguments: Any) -> None:
        """Call in so many seconds, with these arguments."""
        self.stop()
        self._timeout = self._loop.call_later(seconds, partial(self._expire, *arguments))

    def stop(self) -> None:
        """Leave nothing on the loop."""
        if self._timeout is not None:
            self._loop.remove_timeout(self._timeout)
            self._timeout = None

    def _expire(self, *arguments: Any) -> None:
        self._timeout = None
        self._expired(*arguments)


def in_thread(
    loop: IOLoop, ask: Callable[[], Any], answered: Callable[[Any], None], failed: Callable[[str], None]
) -> None:
    """Run `ask`, which blocks, in a thread; its answer, or the reason of a ClusterError, comes through the loop."""

    def reply(asked: Future[Any]) -> None:
        try:
            answer = asked.result()
        except ClusterError as error:
            failed(str(error))
        else:
            answered(answer)

    in_background(ask).add_done_callback(lambda asked: loop.add_callback_threadsafe(partial(reply, asked)))
