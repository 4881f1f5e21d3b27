"""One process, run for one message: its pipes, its end, and its outcome."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from scripts.action.cgroup import OutOfMemoryKills
from scripts.action.exit_reason import exit_reason
from scripts.action.exit_watch import ExitWatch
from scripts.action.jobs import EXIT_REJECTED, Job, Outcome, RunLimits, Verdict
from scripts.action.output import KeptLines, Lines, tag_of
from scripts.action.pipe_end import PIPE_BYTES, PipeEnd
from scripts.action.process_group import Ending
from scripts.action.spawn import spawn, why_unstartable
from scripts.event_loop import EventLoop

Done = Callable[[Outcome], None]

# What a run may leave in its pipes at its exit and still be passed on: a grandchild could go on writing for ever.
_MOST_LEFT = 16 * 1024 * 1024


class Parent(Protocol):
    """Who runs the child."""

    loop: EventLoop
    argv: list[str]
    limits: RunLimits
    tagged: bool
    watch: ExitWatch
    out_of_memory: OutOfMemoryKills

    def succeeded(self, child: Child) -> None:
        """It has exited with 0; its output is still to be passed on."""

    def ended(self, child: Child) -> None:
        """It runs no more."""


class Child:
    """One run; `started` is on the monotonic clock, in seconds."""

    def __init__(self, parent: Parent, job: Job, done: Done) -> None:
        self._parent = parent
        self._loop = parent.loop
        self._job = job
        self._done = done
        tag = tag_of(job.id) if parent.tagged else b""
        self._stdout = Lines(1, tag)
        self._stderr = KeptLines(2, tag)
        self._ends: list[PipeEnd] = []
        self._unwritten = memoryview(job.body)
        self._ending: Ending | None = None
        self._ended_as: tuple[Verdict, str] | None = None
        self._timer: object = None
        self._started_at = time.time()
        self.started = time.monotonic()

    def start(self) -> None:
        """Start it; the outcome comes later, also that of a start which failed."""
        try:
            self._pid = self._spawn()
        except (OSError, ValueError) as error:
            self._close_ends()
            outcome = Outcome(_fault(error), why_unstartable(self._parent.argv[0], error), started_at=self._started_at)
            self._loop.add_callback_threadsafe(lambda: self._finish(outcome))
            return
        self._parent.watch.watch(self._pid, self._exited)
        limit = self._parent.limits.timeout_s
        if limit is not None:
            self._timer = self._loop.call_later(
                limit, lambda: self.end("failed", f"over the time limit of {limit:g} s")
            )
        if self._unwritten:
            # So much goes in, much may come out: neither side is to wait for the other.
            self._ends[0].watch(self._loop.WRITE, self._write_stdin)
            self.watch_pipes()

    def end(self, verdict: Verdict, reason: str) -> None:
        """TERM, then KILL, to the process group; the outcome will have this verdict, whatever the exit code."""
        self._ended_as = (verdict, reason)
        if self._ending is None:
            self._ending = Ending(self._loop, self._pid, self._parent.limits.kill_after_s)

    def watch_pipes(self) -> None:
        """Pass on what it prints while it runs, so that its pipes never fill up."""
        for end, lines in self._outputs():
            end.watch(self._loop.READ, lambda end=end, lines=lines: _pass_on(end, lines))  # type: ignore[misc]

    def _spawn(self) -> int:
        theirs: list[int] = []
        try:
            reading, writing = os.pipe()
            theirs.append(reading)
            self._ends.append(PipeEnd(self._loop, writing))
            for _ in range(2):
                reading, writing = os.pipe()
                theirs.append(writing)
                self._ends.append(PipeEnd(self._loop, reading))
            # Most bodies fit whole into the pipe, before the child even starts.
            self._write_stdin()
            return spawn(self._parent.argv, self._job.environment, theirs)
        finally:
            for descriptor in theirs:
                os.close(descriptor)

    def _write_stdin(self) -> None:
        stdin = self._ends[0]
        try:
            while self._unwritten and (written := stdin.write(self._unwritten)):
                self._unwritten = self._unwritten[written:]
        except BrokenPipeError:
            # It does not read its STDIN, or not to the end, and may do so.
            self._unwritten = memoryview(b"")
        if not self._unwritten:
            stdin.close()

    def _outputs(self) -> Sequence[tuple[PipeEnd, Lines]]:
        return (self._ends[1], self._stdout), (self._ends[2], self._stderr)

    def _exited(self, status: int) -> None:
        if self._timer is not None:
            self._loop.remove_timeout(self._timer)
        if self._ending is not None:
            self._ending.ended(lambda: self._conclude(status))
            return
        if status == 0:
            self._parent.succeeded(self)
        self._conclude(status)

    def _conclude(self, status: int) -> None:
        for end, lines in self._outputs():
            _drain(end, lines)
        self._close_ends()
        self._finish(self._outcome(os.waitstatus_to_exitcode(status)))

    def _finish(self, outcome: Outcome) -> None:
        self._parent.ended(self)
        self._done(outcome)

    def _close_ends(self) -> None:
        for end in self._ends:
            end.close()

    def _outcome(self, code: int) -> Outcome:
        verdict, reason = self._ended_as or _judge(code, self._parent.out_of_memory)
        return Outcome(
            verdict,
            reason,
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            stderr=self._stderr.tail,
            started_at=self._started_at,
            seconds=time.monotonic() - self.started,
            received=self._stdout.received,
        )


def _fault(error: OSError | ValueError) -> Verdict:
    """Whose fault it is that nothing starts: this host's, or the message's with what it brings for the environment."""
    return "failed" if isinstance(error, ValueError) or error.errno == errno.E2BIG else "unstartable"


def _pass_on(end: PipeEnd, lines: Lines) -> None:
    data = end.read()
    if data:
        lines.feed(data)
    elif data is not None:
        end.close()
        lines.finish()


def _drain(end: PipeEnd, lines: Lines) -> None:
    """Pass on what is in the pipe; a grandchild that keeps it open is not waited for."""
    left = _MOST_LEFT
    while left > 0 and (data := end.read()):
        lines.feed(data)
        left -= len(data)
        if len(data) < PIPE_BYTES:
            break
    lines.finish()


def _judge(code: int, out_of_memory: OutOfMemoryKills) -> tuple[Verdict, str]:
    """Verdict and reason of an exit code; below 0 it is a signal's number."""
    if code == 0:
        return "done", ""
    return "rejected" if code == EXIT_REJECTED else "failed", exit_reason(code, out_of_memory)
