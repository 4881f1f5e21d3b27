"""A kept-alive program and its four pipes, read and written by the event loop; what comes is for its Life to judge."""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Protocol

from scripts.action.exits import Ending, ExitWatch
from scripts.action.kept_protocol import LONGEST_LINE_BYTES
from scripts.action.output import Lines
from scripts.action.pipes import Inlet, Outlet, PipeEnd
from scripts.event_loop import EventLoop

# Starts the program with pipes (STDIN, STDOUT, STDERR, descriptor 3); returns its process id and our ends.
Spawn = Callable[[], tuple[int, list[int]]]


class Listener(Protocol):
    """The one that is told what the child does; always from the loop."""

    def heard(self, line: bytes, more: bytes) -> None:
        """Take a line on descriptor 3, or too much for one; `more` came right behind it."""

    def lost(self, pipe: str) -> None:
        """Note that the child closed this pipe; as a rule its end follows at once."""

    def taken(self) -> None:
        """Note that a message has gone in now that did not go into the pipe at once."""

    def exited(self) -> None:
        """Note that the child is gone; `ended` follows when its group is gone too."""

    def ended(self, status: int) -> None:
        """Note that the whole group is gone, and all it said was told; the status is waitpid's."""


class KeptChild:
    """The program, started."""

    def __init__(
        self, loop: EventLoop, watch: ExitWatch, spawn: Spawn, kill_after_s: float, listener: Listener
    ) -> None:
        self._loop, self._kill_after_s, self._listener = loop, kill_after_s, listener
        self._heard = b""
        self._group: Ending | None = None
        self._pid, (stdin, stdout, stderr, verdicts) = spawn()
        self.stdout, self.stderr = Lines(1), Lines(2)
        self.stdin = Inlet(loop, stdin, sent=listener.taken, broken=lambda: listener.lost("its STDIN"))
        self._outputs = Outlet(loop, stdout, self.stdout), Outlet(loop, stderr, self.stderr)
        self._verdicts = PipeEnd(loop, verdicts)
        # Mostly nothing is there, and to ask is cheaper than to read in vain. A closed one is asked and read in vain.
        self._printed, self._said = _questions(*self._outputs), _questions(self._verdicts)
        watch.watch(self._pid, self._exited)
        self._verdicts.watch(loop.READ, self._hear)
        for output in self._outputs:
            output.follow()

    def begin(self, tag: bytes) -> None:
        """Take what it prints from now on for another message's."""
        self.stdout.begin(tag)
        self.stderr.begin(tag)

    def terminate(self) -> None:
        """Send TERM to it and its group, KILL after a while; `ended` follows."""
        self._group = self._group or Ending(self._loop, self._pid, self._kill_after_s)

    def catch_up(self) -> None:
        """Pass on what is in STDOUT and STDERR by now."""
        if self._printed.poll(0):
            for output in self._outputs:
                output.pass_on()

    def unasked(self) -> bytes:
        """Return what is on descriptor 3 where there should be nothing."""
        return self._heard or (self._said.poll(0) and self._verdicts.read()) or b""

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
        self.terminate()
        assert self._group is not None
        self._group.ended(lambda: self._all_exited(status))

    def _all_exited(self, status: int) -> None:
        if last := self._verdicts.read():
            self._tell(last)
        self._verdicts.close()
        for output in self._outputs:
            output.drain()
        self._listener.ended(status)
        self.stdin.close()


def _questions(*ends: PipeEnd) -> select.poll:
    asked = select.poll()
    for end in ends:
        asked.register(end.fd, select.POLLIN)
    return asked
