"""What actions print: whole lines to the worker's own STDOUT and STDERR, and the end of STDERR for the failed queue."""

from __future__ import annotations

import os
import select

from scripts.action.jobs import STDERR_KEPT
from scripts.one_line import visible

# A line longer than this is passed on in pieces, so that output without newlines does not fill the memory.
LONGEST_LINE = 256 * 1024


class Lines:
    """Passes one stream of one run on, line by line.

    Several actions write at once, so nothing less than a whole line is written; each begins with `tag`.
    """

    __slots__ = ("_descriptor", "_rest", "received", "tag")

    def __init__(self, descriptor: int, tag: bytes = b"") -> None:
        self._descriptor = descriptor
        self.tag = tag
        self._rest = b""
        self.received = 0

    def feed(self, data: bytes) -> None:
        """Write the lines that `data` completes."""
        self.received += len(data)
        whole, newline, rest = (self._rest + data).rpartition(b"\n")
        if newline:
            self._write(whole + newline)
        self._rest = rest
        if len(rest) > LONGEST_LINE:
            self.finish()

    def finish(self) -> None:
        """The stream is over: a last line without a newline gets one."""
        if self._rest:
            self._write(self._rest + b"\n")
            self._rest = b""

    def _write(self, lines: bytes) -> None:
        if self.tag:
            lines = self.tag + lines[:-1].replace(b"\n", b"\n" + self.tag) + b"\n"
        write_all(self._descriptor, lines)


class KeptLines(Lines):
    """Lines that also remembers the last STDERR_KEPT bytes."""

    __slots__ = ("tail",)

    def __init__(self, descriptor: int, tag: bytes = b"") -> None:
        super().__init__(descriptor, tag)
        self.tail = b""

    def feed(self, data: bytes) -> None:
        """Write the lines that `data` completes and remember its end."""
        self.tail = (self.tail + data)[-STDERR_KEPT:]
        super().feed(data)


def tag_of(message_id: str) -> bytes:
    """What stands in front of each line with --tag: the id and a tab, as GNU parallel does it."""
    return visible(message_id).encode() + b"\t"


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it, or nothing more when nobody reads any longer: output is no reason to fail a message."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            _wait_writable(descriptor)
        except OSError:
            return


def _wait_writable(descriptor: int) -> None:
    """Someone made our STDOUT non-blocking (it can be shared with other programs): wait as a blocking write would."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    poll.poll()
