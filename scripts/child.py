"""One process a message: the Runner that cluster_worker uses unless --keep-alive says otherwise."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from scripts.cgroup import OutOfMemoryKills
from scripts.event_loop import EventLoop
from scripts.exit_reason import exit_reason
from scripts.exit_watch import ExitWatch, exit_watch
from scripts.jobs import EXIT_REJECTED, Job, Outcome, RunLimits
from scripts.output import KeptLines, Lines, tag_of
from scripts.process_group import Ending
from scripts.spawn import spawn

Done = Callable[[Outcome], None]

# Most actions are over before this. Their pipes are read once, at the end, without ever being watched: that saves
# three wake-ups a message.
_WATCH_PIPES_AFTER_S = 0.02

_PIPE_SIZE = 65536

# What a run may leave in its pipes at its exit and still be passed on: a grandchild could go on writing for ever.
_MOST_LEFT = 16 * 1024 * 1024


class Processes:
    """Runs `argv` (its first word a path) once a job, at most `jobs` at a time."""

    def __init__(
        self, loop: EventLoop, argv: Sequence[str], jobs: int, limits: RunLimits, tagged: bool = False
    ) -> None:
        self.loop = loop
        self.argv = list(argv)
        self.limits = limits
        self.tagged = tagged
        self.watch: ExitWatch = exit_watch(loop)
        self.out_of_memory = OutOfMemoryKills()
        self._jobs = jobs
        self._children: set[_Child] = set()
        self._sweeping = False

    def open(self, changed: Callable[[], None], broken: Callable[[str], None]) -> None:
        """A process a message needs nothing beforehand: all are free from the start."""
        self._changed = changed

    def start(self, job: Job, done: Done) -> None:
        """Run the job; `done` is called once, from the loop."""
        child = _Child(self, job)
        self._children.add(child)
        child.start(done)
        if not self._sweeping:
            self._sweeping = True
            self.loop.call_later(_WATCH_PIPES_AFTER_S, self._watch_pipes)

    def ended(self, child: _Child) -> None:
        """This one runs no more."""
        self._children.discard(child)

    def succeeded(self, child: _Child) -> None:
        """It runs no more and all is well: the next one may start before this one's output is passed on."""
        self._children.discard(child)
        self._changed()

    def free(self) -> int:
        """How many more jobs can be started now."""
        return self._jobs - len(self._children)

    def kill(self) -> None:
        """End what runs; the outcomes are `killed`."""
        for child in list(self._children):
            child.end("killed", "stopped with the worker")

    def close(self, closed: Callable[[], None]) -> None:
        """No process outlives its run: nothing is left to be closed."""
        closed()

    def _watch_pipes(self) -> None:
        self._sweeping = False
        for child in self._children:
            child.watch_pipes()


class _Child:
    """One run."""

    def __init__(self, processes: Processes, job: Job) -> None:
        self._of = processes
        self._loop = processes.loop
        self._job = job
        tag = tag_of(job.id) if processes.tagged else b""
        self._pipes: dict[int, Lines] = {}
        self._stdout = Lines(1, tag)
        self._stderr = KeptLines(2, tag)
        self._watched = False
        self._stdin = -1
        self._unwritten = memoryview(job.body)
        self._ending: Ending | None = None
        self._ended_as: tuple[str, str] | None = None
        self._timer: object = None
        self._started_at = time.time()
        self._started = time.monotonic()

    def start(self, ended: Done) -> None:
        self._ended = ended
        try:
            self._pid = self._spawn()
        except (OSError, ValueError) as error:
            self._of.ended(self)
            outcome = Outcome("unstartable", _why_unstartable(error, self._of.argv[0]), started_at=self._started_at)
            self._loop.add_callback_threadsafe(lambda: ended(outcome))
            return
        self._of.watch.watch(self._pid, self._exited)
        limit = self._of.limits.timeout_s
        if limit is not None:
            self._timer = self._loop.call_later(
                limit, lambda: self.end("failed", f"over the time limit of {limit:g} s")
            )
        if self._unwritten:
            self._loop.add_handler(self._stdin, self._stdin_writable, self._loop.WRITE | self._loop.ERROR)
            self.watch_pipes()

    def end(self, verdict: str, reason: str) -> None:
        """TERM, then KILL, to the process group; the outcome will have this verdict, whatever the exit code."""
        self._ended_as = (verdict, reason)
        if self._ending is None:
            self._ending = Ending(self._loop, self._pid, self._of.limits.kill_after_s)

    def watch_pipes(self) -> None:
        """Pass on what the child prints while it runs, so that its pipes never fill up."""
        if self._watched:
            return
        self._watched = True
        for pipe in self._pipes:
            self._loop.add_handler(pipe, self._readable, self._loop.READ)

    def _spawn(self) -> int:
        ours: list[int] = []
        theirs: list[int] = []
        try:
            for direction in ("in", "out", "out"):
                reading, writing = os.pipe()
                (theirs if direction == "in" else ours).append(reading)
                (ours if direction == "in" else theirs).append(writing)
            for descriptor in ours:
                os.set_blocking(descriptor, False)
            self._stdin, stdout, stderr = ours
            self._write_stdin()
            pid = spawn(self._of.argv, self._job.environment, theirs)
        except BaseException:
            for descriptor in ours:
                if descriptor != self._stdin or self._unwritten:
                    os.close(descriptor)
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        self._pipes = {stdout: self._stdout, stderr: self._stderr}
        return pid

    def _write_stdin(self) -> None:
        """Write what the pipe takes; most bodies fit whole, before the child even starts."""
        try:
            while self._unwritten:
                self._unwritten = self._unwritten[os.write(self._stdin, self._unwritten) :]
        except BlockingIOError:
            return
        except OSError:
            # It does not read its STDIN, or not to the end, and may do so.
            self._unwritten = memoryview(b"")
        os.close(self._stdin)

    def _stdin_writable(self, descriptor: int, _events: int) -> None:
        self._loop.remove_handler(descriptor)
        self._write_stdin()
        if self._unwritten:
            self._loop.add_handler(descriptor, self._stdin_writable, self._loop.WRITE | self._loop.ERROR)

    def _readable(self, pipe: int, _events: int) -> None:
        data = os.read(pipe, _PIPE_SIZE)
        if data:
            self._pipes[pipe].feed(data)
        else:
            self._close_pipe(pipe)

    def _close_pipe(self, pipe: int) -> None:
        if self._watched:
            self._loop.remove_handler(pipe)
        os.close(pipe)
        self._pipes.pop(pipe).finish()

    def _exited(self, status: int) -> None:
        if self._timer is not None:
            self._loop.remove_timeout(self._timer)
        if self._ending is None:
            if status == 0:
                self._of.succeeded(self)
            self._finish(status)
        else:
            self._ending.ended(lambda: self._finish(status))

    def _finish(self, status: int) -> None:
        self._close_stdin()
        for pipe in list(self._pipes):
            self._drain(pipe)
        self._of.ended(self)
        self._ended(self._outcome(status))

    def _close_stdin(self) -> None:
        if self._unwritten:
            self._loop.remove_handler(self._stdin)
            os.close(self._stdin)

    def _drain(self, pipe: int) -> None:
        """Pass on what is in the pipe; a grandchild that keeps it open is not waited for."""
        lines = self._pipes[pipe]
        left = _MOST_LEFT
        while left > 0:
            try:
                data = os.read(pipe, _PIPE_SIZE)
            except BlockingIOError:
                break
            lines.feed(data)
            left -= len(data)
            if len(data) < _PIPE_SIZE:
                break
        self._close_pipe(pipe)

    def _outcome(self, status: int) -> Outcome:
        code = os.waitstatus_to_exitcode(status)
        verdict, reason = self._ended_as or _judge(code, self._of.out_of_memory)
        return Outcome(
            verdict,  # type: ignore[arg-type]
            reason,
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            stderr=self._stderr.tail,
            started_at=self._started_at,
            seconds=time.monotonic() - self._started,
            received=self._stdout.received,
        )


def _judge(code: int, out_of_memory: OutOfMemoryKills) -> tuple[str, str]:
    """Verdict and reason of an exit code; below 0 it is a signal's number."""
    if code == 0:
        return "done", ""
    return "rejected" if code == EXIT_REJECTED else "failed", exit_reason(code, out_of_memory)


def _why_unstartable(error: OSError | ValueError, path: str) -> str:
    reason = getattr(error, "strerror", None) or str(error)
    return f"{path} cannot be started: {reason}"
