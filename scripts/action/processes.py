"""A process for each message: the Runner that cluster_worker uses unless --keep-alive says otherwise."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from scripts.action.cgroup import OutOfMemoryKills
from scripts.action.children import Ending, exit_reason, exit_watch, spawn_piped, why_unstartable
from scripts.action.jobs import EXIT_REJECTED, KILLED, Done, Job, Outcome, RunLimits, Verdict
from scripts.action.output import Lines, tag_of
from scripts.action.pipes import Inlet, Outlet
from scripts.action.placeholders import Template
from scripts.action.result import Result, over_limit
from scripts.errors import ClusterError
from scripts.event_loop import EventLoop, Timer

# Most actions are over before this. Their pipes are read once, at the end, without ever being watched: that saves
# three wake-ups a message.
_WATCH_PIPES_AFTER_S = 0.02


@dataclass(eq=False)
class Processes:
    """Runs `argv` (its first word a path) once a job, at most `jobs` at a time."""

    loop: EventLoop
    argv: Sequence[str]
    environment: Mapping[str, str]
    jobs: int
    limits: RunLimits
    tagged: bool = False

    def __post_init__(self) -> None:
        self.watch = exit_watch(self.loop)
        self.out_of_memory = OutOfMemoryKills()
        self._template = Template(self.argv)
        self._children: set[Child] = set()
        self._sweep = Timer(self.loop, self._watch_pipes)

    def open(self, changed: Callable[[], None], broken: Callable[[str], None]) -> None:
        """Get ready: all are free from the start."""
        self.changed = changed

    def start(self, job: Job, done: Done) -> None:
        """Run the job; `done` is called once, from the loop."""
        child = Child(self, job, done)
        self._children.add(child)
        child.start()
        if not self._sweep.is_set:
            self._sweep.set(_WATCH_PIPES_AFTER_S)

    def words(self, job: Job) -> Sequence[str | bytes]:
        """Return `argv` for the job, with its placeholders filled.

        Raises:
            ClusterError: a value cannot be part of an argument.
        """
        return self.argv if job.values is None or not self._template.names else self._template.fill(job.values)

    def ended(self, child: Child) -> None:
        """Count the child no more."""
        self._children.discard(child)

    def free(self) -> int:
        """Return how many more jobs can be started now."""
        return self.jobs - len(self._children)

    def kill(self, at_once: bool = False) -> None:
        """End what runs; the outcomes are `killed`."""
        for child in list(self._children):
            child.end(KILLED.verdict, KILLED.reason, at_once)

    def close(self, closed: Callable[[], None]) -> None:
        """Call `closed`: no process outlives its run."""
        closed()

    def _watch_pipes(self) -> None:
        """Watch the pipes of those that have run for a while; look again as long as there are younger ones."""
        old = time.monotonic() - _WATCH_PIPES_AFTER_S
        for child in self._children:
            if child.started <= old:
                child.watch_pipes()
        if any(child.started > old for child in self._children):
            self._sweep.set(_WATCH_PIPES_AFTER_S)


class Child:
    """A run in a process of its own; `started` is on the monotonic clock, in seconds."""

    def __init__(self, runner: Processes, job: Job, done: Done) -> None:
        self._runner = runner
        self._job = job
        self._done = done
        tag = tag_of(job.id) if runner.tagged else b""
        self._result = None if job.result_limit is None else Result(job.result_limit, self._look_at_size)
        self._stdout = self._result or Lines(1, tag)
        self._stderr = Lines(2, tag)
        self._pid: int | None = None
        self._ending: Ending | None = None
        self._ended_as: tuple[Verdict, str] | None = None
        self._time_limit = Timer(runner.loop, self.end)
        self._started_at = time.time()
        self.started = time.monotonic()

    def start(self) -> None:
        """Start it; the outcome comes later, also that of a start which failed."""
        runner, loop = self._runner, self._runner.loop
        try:
            environment = {**runner.environment, **self._job.variables()}
            self._pid, (stdin, stdout, stderr) = spawn_piped(runner.words(self._job), environment, outputs=2)
        except ClusterError as error:
            self._never_ran("rejected", str(error))
            return
        except (OSError, ValueError) as error:
            # What a message brings, its variables and arguments, can be too much.
            is_messages = isinstance(error, ValueError) or error.errno == errno.E2BIG
            self._never_ran("failed" if is_messages else "unstartable", why_unstartable(runner.argv[0], error))
            return
        # It need not read its STDIN, or not to the end.
        self._stdin = Inlet(loop, stdin)
        self._outputs = Outlet(loop, stdout, self._stdout), Outlet(loop, stderr, self._stderr)
        runner.watch(self._pid, self._exited)
        if (limit := runner.limits.timeout_s) is not None:
            self._time_limit.set(limit, "failed", f"over the time limit of {limit:g} s")
        if self._stdin.send(self._job.body):
            self._stdin.close()
        else:
            # So much goes in, much may come out: neither side is to wait for the other.
            self.watch_pipes()

    def end(self, verdict: Verdict, reason: str, at_once: bool = False) -> None:
        """Send TERM, then KILL, to the process group; the outcome gets this verdict, whatever the exit code."""
        self._ended_as = (verdict, reason)
        if self._ending is None and self._pid is not None:
            self._ending = Ending(self._runner.loop, self._pid, self._runner.limits.kill_after_s)
        if at_once and self._ending is not None:
            self._ending.kill()

    def watch_pipes(self) -> None:
        """Pass on what it prints while it runs."""
        for output in self._outputs:
            output.follow()

    def _never_ran(self, verdict: Verdict, reason: str) -> None:
        outcome = Outcome(verdict, reason, started_at=self._started_at)
        self._runner.loop.add_callback_threadsafe(lambda: self._finish(outcome))

    def _look_at_size(self) -> None:
        """End a run whose result is too large: it may go on printing for ever."""
        assert self._result is not None
        if self._result.is_over and self._ended_as is None:
            self.end("rejected", over_limit(self._result.limit))

    def _exited(self, status: int, peak_kib: int) -> None:
        self._time_limit.stop()
        if self._ending is not None:
            self._ending.ended(lambda: self._conclude(status, peak_kib))
            return
        if status == 0:
            # The next one can start before the output of this one is passed on.
            self._runner.ended(self)
            self._runner.changed()
        self._conclude(status, peak_kib)

    def _conclude(self, status: int, peak_kib: int) -> None:
        # Its number may be another's by now.
        self._pid = None
        self._stdin.close()
        for output in self._outputs:
            output.drain()
        code = os.waitstatus_to_exitcode(status)
        verdict, reason = self._ended_as or _judge(code, self._runner.out_of_memory)
        outcome = Outcome(
            verdict,
            reason,
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            stderr=self._stderr.tail,
            started_at=self._started_at,
            seconds=time.monotonic() - self.started,
            received=self._stdout.received,
            result=self._result.value if self._result else b"",
            peak_kib=peak_kib,
        )
        self._finish(outcome)

    def _finish(self, outcome: Outcome) -> None:
        self._runner.ended(self)
        self._done(outcome)


def _judge(code: int, out_of_memory: OutOfMemoryKills) -> tuple[Verdict, str]:
    """Return verdict and reason of an exit code; below 0 it is a signal's number."""
    if code == 0:
        return "done", ""
    return "rejected" if code == EXIT_REJECTED else "failed", exit_reason(code, out_of_memory)
