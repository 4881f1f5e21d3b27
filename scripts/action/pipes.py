"""Pipes between the worker and an action: our ends, which never block."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
from collections.abc import Callable
from typing import Protocol

from scripts.event_loop import EventLoop

# What a pipe of Linux holds: one read takes all that is there.
PIPE_BYTES = 65536

# What a run may leave in its pipes at its exit and still be passed on: a grandchild could go on writing for ever.
_MOST_LEFT = 16 * 1024 * 1024

_NOTHING = memoryview(b"")


class PipeEnd:
    """Our end of a pipe, watched by the event loop or not, and closed once, however often it is asked to."""

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
        """Return what is there now: None for nothing yet, empty at the end."""
        if self.fd < 0:
            return b""
        try:
            return os.read(self.fd, PIPE_BYTES)
        except BlockingIOError:
            return None


class Inlet(PipeEnd):
    """The STDIN of a child."""

    def __init__(
        self, loop: EventLoop, fd: int, sent: Callable[[], None] | None = None, broken: Callable[[], None] | None = None
    ) -> None:
        """`sent` is called when all has gone in that did not at once, `broken` when nobody reads; else it closes."""
        super().__init__(loop, fd)
        self._all_sent, self._broken = sent or self.close, broken or self.close
        self._unsent = _NOTHING
        self._sent_bytes = 0

    def send(self, data: bytes) -> bool:
        """Write as much as goes in, the rest as the child reads; False when there is a rest."""
        self._unsent, self._sent_bytes = memoryview(data), 0
        self._write()
        if self._unsent:
            self.watch(self._loop.WRITE, self._go_on)
        return not self._unsent

    def untouched(self) -> bool:
        """Return whether the child has read nothing of what was sent last."""
        if self.fd < 0:
            return self._sent_bytes == 0
        waiting: int = struct.unpack("i", fcntl.ioctl(self.fd, termios.FIONREAD, bytes(4)))[0]
        return waiting == self._sent_bytes

    def _go_on(self) -> None:
        if self._write() and not self._unsent:
            self.unwatch()
            self._all_sent()

    def _write(self) -> bool:
        try:
            written = os.write(self.fd, self._unsent) if self._unsent else 0
        except BlockingIOError:
            return True
        except BrokenPipeError:
            self._unsent = _NOTHING
            self.unwatch()
            self._broken()
            return False
        self._sent_bytes += written
        self._unsent = self._unsent[written:] or _NOTHING
        return True


class Sink(Protocol):
    """A taker of what a child prints."""

    def feed(self, data: bytes) -> None:
        """Take what came now."""

    def finish(self) -> None:
        """Take note that no more comes."""


class Outlet(PipeEnd):
    """The STDOUT or STDERR of a child, passed on to `sink`."""

    def __init__(self, loop: EventLoop, fd: int, sink: Sink) -> None:
        super().__init__(loop, fd)
        self.sink = sink

    def follow(self) -> None:
        """Pass on what is printed while the child runs, so that the pipe never fills up."""
        self.watch(self._loop.READ, self.pass_on)

    def pass_on(self) -> None:
        """Pass on what is there now."""
        data = self.read()
        if data:
            self.sink.feed(data)
        elif data is not None:
            self.sink.finish()
            self.close()

    def drain(self) -> None:
        """Pass on the rest and close; a grandchild that keeps the pipe open is not waited for."""
        left = _MOST_LEFT
        while left > 0 and (data := self.read()):
            self.sink.feed(data)
            left -= len(data)
            if len(data) < PIPE_BYTES:
                break
        self.sink.finish()
        self.close()
