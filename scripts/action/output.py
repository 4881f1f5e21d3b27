"""The worker's own STDOUT and STDERR: what actions print, in whole lines, and what the worker says."""

from __future__ import annotations

import os
import select

from scripts.one_line import visible

# A line longer than this is passed on in pieces, so that output without newlines does not fill the memory.
LONGEST_LINE = 256 * 1024
# How much of the end of STDERR is kept for the failed queue, in bytes.
STDERR_KEPT = 4096


class Lines:
    """A stream of a run, passed on line by line; `tail` is its end.

    Several actions write at once, so nothing less than a whole line is written; each begins with `tag`.
    """

    __slots__ = ("_descriptor", "_rest", "received", "tag", "tail")

    def __init__(self, descriptor: int, tag: bytes = b"") -> None:
        self._descriptor = descriptor
        self._rest = b""
        self.begin(tag)

    def begin(self, tag: bytes) -> None:
        """Count anew: what comes from now on belongs to another message."""
        self.tag = tag
        self.tail = b""
        self.received = 0

    def feed(self, data: bytes) -> None:
        """Write the lines that `data` completes, and remember its end."""
        self.received += len(data)
        self.tail = (self.tail + data)[-STDERR_KEPT:]
        whole, newline, rest = (self._rest + data).rpartition(b"\n")
        if newline:
            self._write(whole + newline)
        self._rest = rest
        if len(rest) > LONGEST_LINE:
            self.finish()

    def finish(self) -> None:
        """End the stream: a last line without a newline gets one."""
        if self._rest:
            self._write(self._rest + b"\n")
            self._rest = b""

    def _write(self, lines: bytes) -> None:
        if self.tag:
            lines = self.tag + lines[:-1].replace(b"\n", b"\n" + self.tag) + b"\n"
        write_all(self._descriptor, lines)


def tag_of(message_id: str) -> bytes:
    """Return what --tag puts in front of each line: the id and a tab, as GNU parallel does."""
    return visible(message_id).encode() + b"\t"


def say(text: str) -> None:
    """Print one line for a person; the scheduler's log adds the time. A message's id in it is anybody's text."""
    write_all(2, f"cluster_worker: {visible(text)}\n".encode())


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it, or nothing more when nobody reads any longer: output is no reason to fail a message."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            # Another program has made our STDOUT non-blocking.
            select.select([], [descriptor], [])
        except OSError:
            return
