"""One kept-alive program and its four pipes, read and written by the event loop; what it means is KeptAlive's."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from scripts.action.exit_watch import ExitWatch
from scripts.action.output import KeptLines, Lines
from scripts.action.pipe_end import PipeEnd
from scripts.action.process_group import Ending
from scripts.action.spawn import spawn
from scripts.action.verdict_line import LONGEST_LINE_BYTES
from scripts.event_loop import EventLoop

_NOTHING = memoryview(b"")


@dataclass(frozen=True)
class Program:
    """What to start: its first word is a path."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    kill_after_s: float


class Listener(Protocol):
    """Who is told what the child does; always from the loop."""

    def heard(self, line: bytes, more: bytes) -> None:
        """A line on descriptor 3, or too much for one; `more` came right behind it."""

    def lost(self, pipe: str) -> None:
        """The child closed this pipe; as a rule its end follows at once."""

    def taken(self) -> None:
        """A message that did not go into the pipe at once has gone in now."""

    def exited(self) -> None:
        """The child is gone; `ended` follows when its group is gone too."""

    def ended(self, status: int) -> None:
        """The child is gone, with all of its group; all it said before was told. The status is waitpid's."""


class KeptChild:
    """The program, started.

    Raises:
        OSError, ValueError: it cannot be started.
    """

    def __init__(self, loop: EventLoop, watch: ExitWatch, program: Program, listener: Listener) -> None:
        self._loop, self._program, self._listener = loop, program, listener
        self.stdout, self.stderr = Lines(1), KeptLines(2)
        self._unsent = _NOTHING
        self._sent_bytes = 0
        self._heard = b""
        self._group: Ending | None = None
        ours, theirs = _pipes(loop)
        self._stdin, stdout, stderr, self._verdicts = ours
        self._outputs = ((stdout, self.stdout), (stderr, self.stderr))
        # Mostly nothing is there, and to ask is cheaper than to read in vain. A closed one is asked and read in vain.
        self._printed, self._said = _questions(stdout, stderr), _questions(self._verdicts)
        try:
            self._pid = spawn(program.argv, program.environment, theirs)
        except (OSError, ValueError):
            for end in ours:
                end.close()
            raise
        finally:
            for fd in theirs:
                os.close(fd)
        watch.watch(self._pid, self._exited)
        self._verdicts.watch(loop.READ, self._hear)
        for output, lines in self._outputs:
            output.watch(loop.READ, partial(_pass_on, output, lines))

    def begin(self, tag: bytes) -> None:
        """What it prints from now on belongs to another message."""
        self.stdout.tag = self.stderr.tag = tag
        self.stdout.received, self.stderr.tail = 0, b""

    def send(self, frame: bytes) -> bool:
        """Write a message; True when all of it is in the pipe already, else `taken` is told later."""
        self._unsent, self._sent_bytes = memoryview(frame), 0
        self._write()
        if self._unsent:
            self._stdin.watch(self._loop.WRITE, self._write_on)
        return not self._unsent

    def untouched(self) -> bool:
        """Whether the child has read nothing of the last message."""
        if self._stdin.fd < 0:
            return self._sent_bytes == 0
        waiting: int = struct.unpack("i", fcntl.ioctl(self._stdin.fd, termios.FIONREAD, bytes(4)))[0]
        return waiting == self._sent_bytes

    def finish(self) -> None:
        """No more messages: the child's STDIN ends."""
        self._stdin.close()

    def terminate(self) -> None:
        """TERM to it and its group, KILL after a while; `ended` follows."""
        self._group = self._group or Ending(self._loop, self._pid, self._program.kill_after_s)

    def catch_up(self) -> None:
        """Pass on what is in STDOUT and STDERR by now."""
        if self._printed.poll(0):
            for output, lines in self._outputs:
                _pass_on(output, lines)

    def unasked(self) -> bytes:
        """What is on descriptor 3 where there should be nothing."""
        return self._heard or (self._said.poll(0) and self._verdicts.read()) or b""

    def _write_on(self) -> None:
        self._write()
        if not self._unsent:
            self._stdin.unwatch()
            self._listener.taken()

    def _write(self) -> None:
        try:
            written = self._stdin.write(self._unsent)
        except BrokenPipeError:
            self._unsent = _NOTHING
            self._stdin.unwatch()
            self._listener.lost("its STDIN")
            return
        self._sent_bytes += written
        self._unsent = self._unsent[written:] or _NOTHING

    def _hear(self) -> None:
        data = self._verdicts.read()
        if data == b"":
            self._verdicts.close()
            self._listener.lost("file descriptor 3")
        elif data:
            self._tell(data)

    def _tell(self, data: bytes) -> None:
        line, newline, more = (self._heard + data).partition(b"\n")
        whole = newline or len(line) >= LONGEST_LINE_BYTES
        self._heard = b"" if whole else line
        if whole:
            self._listener.heard(line, more)

    def _exited(self, status: int) -> None:
        self._listener.exited()
        self._group = self._group or Ending(self._loop, self._pid, self._program.kill_after_s)
        self._group.ended(lambda: self._all_exited(status))

    def _all_exited(self, status: int) -> None:
        if last := self._verdicts.read():
            self._tell(last)
        for output, lines in self._outputs:
            _pass_on(output, lines)
            output.close()
            lines.finish()
        self._verdicts.close()
        self._listener.ended(status)
        self._stdin.close()


def _pipes(loop: EventLoop) -> tuple[list[PipeEnd], list[int]]:
    """Pipes for STDIN, STDOUT, STDERR and the verdicts: our ends and the child's."""
    (stdin_r, stdin_w), *outputs = [os.pipe() for _ in range(4)]
    ours = [stdin_w, *(reading for reading, _ in outputs)]
    return [PipeEnd(loop, fd) for fd in ours], [stdin_r, *(writing for _, writing in outputs)]


def _questions(*ends: PipeEnd) -> select.poll:
    asked = select.poll()
    for end in ends:
        asked.register(end.fd, select.POLLIN)
    return asked


def _pass_on(output: PipeEnd, lines: Lines) -> None:
    data = output.read()
    if data:
        lines.feed(data)
    elif data == b"":
        output.close()
