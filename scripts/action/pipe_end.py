"""Our end of a pipe to a child."""

from __future__ import annotations

import os
from collections.abc import Callable

from scripts.event_loop import EventLoop

# What a pipe of Linux holds: one read takes all that is there.
PIPE_BYTES = 65536


class PipeEnd:
    """Never blocks; watched by the event loop or not; closed once, however often it is asked to."""

    def __init__(self, loop: EventLoop, fd: int) -> None:
        os.set_blocking(fd, False)
        self._loop, self.fd = loop, fd
        self._watched = False

    def watch(self, events: int, ready: Callable[[], None]) -> None:
        """Call `ready` whenever the loop sees these events, or that the other end is gone."""
        if self.fd >= 0 and not self._watched:
            self._loop.add_handler(self.fd, lambda _fd, _events: ready(), events | self._loop.ERROR)
            self._watched = True

    def unwatch(self) -> None:
        """Look no more."""
        if self._watched:
            self._loop.remove_handler(self.fd)
            self._watched = False

    def close(self) -> None:
        """Look no more and close."""
        self.unwatch()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def read(self) -> bytes | None:
        """What is there now; None for nothing yet, empty at the end."""
        if self.fd < 0:
            return b""
        try:
            return os.read(self.fd, PIPE_BYTES)
        except BlockingIOError:
            return None

    def write(self, data: bytes | memoryview) -> int:
        """Write as much as goes in; returns how many bytes that was.

        Raises:
            BrokenPipeError: nobody can read it any more.
        """
        try:
            return os.write(self.fd, data)
        except BlockingIOError:
            return 0
