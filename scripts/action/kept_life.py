"""The life of one kept-alive child: its pipes, and the meaning of each thing that it does (docs/keep-alive.md)."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from scripts.action.cgroup import OutOfMemoryKills
from scripts.action.children import Ending, ExitWatch, exit_reason
from scripts.action.jobs import KILLED, Done, Job, Outcome, RunLimits, Verdict
from scripts.action.kept_output import Output
from scripts.action.kept_protocol import (
    LONGEST_LINE_BYTES,
    OK,
    PROTOCOL,
    VerdictLine,
    answer,
    greeting_problem,
    readable,
    size_problem,
    unasked_problem,
    uncounted,
)
from scripts.action.output import tag_of
from scripts.action.pipes import Inlet, PipeEnd
from scripts.action.result import over_limit
from scripts.action.still import Seen, look, peak_kib
from scripts.event_loop import EventLoop, Timer

# A child that closes a pipe is as a rule about to end: its exit code says more than the pipe.
LOST_GRACE_S = 1.0

# It has waited for a message, and done nothing else, for so many looks, and may not ask for one yet.
_STILL_LOOKS = 4

# Starts the program with pipes (STDIN, STDOUT, STDERR, descriptor 3); returns its process id and our ends.
Spawn = Callable[[], tuple[int, list[int]]]

# loading: not ready yet.  idle: waits for a message.  busy: has one in hand.  owing: gave its verdict and has to print
# the rest of the result.  taking: gave its verdict and has to read the rest of the message.  finishing: its STDIN has
# ended.  ending: is being ended, or cannot be used any more.
State = Literal["loading", "idle", "busy", "owing", "taking", "finishing", "ending"]


@dataclass(frozen=True)
class Run:
    """A message in the form in which it is sent, and who waits for its outcome."""

    job: Job
    frame: bytes
    done: Done


@dataclass(frozen=True)
class KeepAlive:
    """The terms of kept-alive programs: the framing's name, how many at once, and when each is replaced."""

    framing: str = "lines"
    children: int = 1
    recycle_after: int | None = None
    ready_timeout_s: float = 600.0
    tagged: bool = False


class Keeper(Protocol):
    """The runner that started the child; always told from the loop."""

    loop: EventLoop
    watch: ExitWatch
    out_of_memory: OutOfMemoryKills

    def on_idle(self) -> None:
        """Let the child take a message again; the outcome of its last one follows."""

    def on_ready(self) -> None:
        """Let the child take a message now, of which no outcome tells."""

    def hand_out(self, run: Run) -> None:
        """Give a message to another child: this one ended before it had read anything of it, which was no attempt."""

    def on_end(self, life: Life, why: str) -> None:
        """Go on without the child, which is gone."""


class Life:
    """From the start of a child to its end; one message in hand at most.

    `answered` counts its messages. Once it is over, `lived_s` says how many seconds it took, `faulty` that it did not
    end in good order, `left_unread` that it never read its last message.
    """

    def __init__(self, keeper: Keeper, spawn: Spawn, limits: RunLimits, keep: KeepAlive) -> None:
        self._keeper, self._limits, self._keep = keeper, limits, keep
        self._open(spawn)
        self._deadline = Timer(keeper.loop, self._fault)
        self._deadline.set(
            keep.ready_timeout_s, f"no `ready {PROTOCOL}` on file descriptor 3 within {keep.ready_timeout_s:g} s"
        )
        self.state: State = "loading"
        self._began, self.lived_s = time.monotonic(), 0.0
        self.was_ready, self.faulty, self.left_unread = False, True, False
        self.answered = 0
        self._run: Run | None = None
        self._peak_kib = 0
        self._verdict = OK
        self._hung_up = self._killed = False
        self._seen, self._still_looks = Seen(), 0
        self._fault_reason = ""
        self._fault_verdict: Verdict = "failed"

    def _open(self, spawn: Spawn) -> None:
        loop = self._keeper.loop
        self._pid, (stdin, stdout, stderr, verdicts) = spawn()
        self._group: Ending | None = None
        self._stdin = Inlet(loop, stdin, sent=self._taken, broken=lambda: self._lost("its STDIN"))
        self._output = Output(loop, stdout, stderr, self._printed)
        self._verdicts = PipeEnd(loop, verdicts)
        self._heard = b""
        # Mostly nothing is there, and to ask is cheaper than to read in vain. A closed one is asked in vain.
        self._unread = select.poll()
        for fd in (stdout, stderr, verdicts):
            self._unread.register(fd, select.POLLIN)
        self._keeper.watch(self._pid, self._exited)
        self._verdicts.watch(loop.READ, self._hear)

    @property
    def is_free(self) -> bool:
        """True while it waits for a message and keeps its pipes open."""
        return self.state == "idle" and not self._hung_up

    def asks_too_early(self) -> bool:
        """Look whether the child waits for a message, and for nothing else, before it has said that it is ready."""
        before, self._seen = self._seen, look(self._pid, self._stdin.fd) if self.state == "loading" else Seen()
        self._still_looks = self._still_looks + 1 if self._seen.waits and self._seen == before else 0
        return self._still_looks >= _STILL_LOOKS

    def start(self, run: Run) -> bool:
        """Hand the message to the idle child; False when it has just lost our trust and is being replaced."""
        waiting = self._unread.poll(0)
        if unasked := self._heard or (waiting and self._verdicts.read()):
            self._fault(unasked_problem(unasked))
            return False
        if waiting and run.job.result_limit is not None:
            # It was printed for no message, or too late for one.
            self._output.catch_up(waiting)
        self._run, self.state = run, "busy"
        self._output.begin(run.job, tag_of(run.job.id) if self._keep.tagged else b"")
        self._started_at, self._started = time.time(), time.monotonic()
        if (limit := self._limits.timeout_s) is not None:
            self._deadline.set(limit, f"over the time limit of {limit:g} s")
        self._all_sent = self._stdin.send(run.frame)
        return True

    def finish(self) -> None:
        """Give the child no more messages; one that has not loaded yet is ended."""
        if self.state == "loading":
            self.end()
        elif self.state in ("idle", "taking"):
            self.state = "finishing"
            self._stdin.close()
            self._deadline.set(self._limits.kill_after_s, "the action did not finish when its STDIN ended")

    def kill(self, at_once: bool) -> None:
        """End the child; the message in hand is `killed`."""
        self._killed = True
        self.end()
        if at_once:
            self._terminate().kill()

    def end(self) -> None:
        """Send TERM, then KILL."""
        self.state = "ending"
        self._deadline.stop()
        self._terminate()

    def _terminate(self) -> Ending:
        self._group = self._group or Ending(self._keeper.loop, self._pid, self._limits.kill_after_s)
        return self._group

    def _hear(self) -> None:
        data = self._verdicts.read()
        if data == b"":
            self._verdicts.close()
            self._lost("file descriptor 3")
        elif data:
            self._take(data)

    def _take(self, data: bytes) -> None:
        """Take what came on descriptor 3 when it is a line, or too much for one."""
        line, newline, more = (self._heard + data).partition(b"\n")
        if not newline and len(line) < LONGEST_LINE_BYTES:
            self._heard = line
            return
        self._heard = b""
        if self.state == "busy":
            verdict = answer(line, more)
            if isinstance(verdict, str):
                self._fault(verdict)
            else:
                self._answered(verdict)
        elif self.state == "owing":
            self._fault(f"two verdicts on one message, the second of them {readable(line)}")
        elif self.state == "loading":
            if problem := greeting_problem(line, more):
                self._fault(problem)
            else:
                self.was_ready = True
                self._be_ready()
        elif self.state in ("idle", "taking"):
            self._fault(unasked_problem(line))

    def _lost(self, pipe: str) -> None:
        """Expect the end of a child that closed a pipe."""
        if self.state not in ("finishing", "ending"):
            self._hung_up = True
            self._deadline.set(LOST_GRACE_S, f"the action closed {pipe}")

    def _taken(self) -> None:
        """Go on: the child has read all but what is in the pipe."""
        self._all_sent = True
        if self.state == "taking":
            self._be_ready()

    def _exited(self, status: int, peak_kib: int) -> None:
        """Expect the end of the group: the child itself is gone."""
        self._hung_up, self._peak_kib = True, peak_kib
        self._deadline.stop()
        self._terminate().ended(lambda: self._ended(status))

    def _ended(self, status: int) -> None:
        """Settle the message in hand, and the child with it: the whole group is gone."""
        if last := self._verdicts.read():
            self._take(last)
        self._verdicts.close()
        self._output.drain()
        self._deadline.stop()
        self.lived_s = time.monotonic() - self._began
        code = os.waitstatus_to_exitcode(status)
        why = self._fault_reason or exit_reason(code, self._keeper.out_of_memory)
        run, self._run = self._run, None
        self.left_unread = run is not None and not self._killed and not self._fault_reason and self._stdin.untouched()
        self._stdin.close()
        if run is None or self.left_unread:
            self.faulty = bool(self._fault_reason) or (self.answered == 0 and self.state != "finishing")
        if run is not None and self.left_unread:
            self._output.disown()
            self._keeper.hand_out(run)
        self._keeper.on_end(self, why)
        if run is not None and not self.left_unread:
            run.done(self._cut_short(code, why))

    def _be_ready(self) -> None:
        if not self._hung_up:
            self.state = "idle"
            self._deadline.stop()
            self._keeper.on_ready()

    def _answered(self, verdict: VerdictLine) -> None:
        self._verdict = verdict
        # The loop may learn of the verdict before it learns of what was printed ahead of it.
        if waiting := self._unread.poll(0):
            self._output.catch_up(waiting)
        if self.state == "busy":
            self._compare()

    def _compare(self) -> None:
        """Settle the message when its verdict and what was printed agree; wait for bytes that are missing."""
        verdict, result = self._verdict, self._output.result
        said = verdict.result_bytes or 0
        if result is None or verdict.verdict != "done" or result.received == said:
            self._settle(verdict)
        elif verdict.result_bytes is None:
            # The sender of a trial wants to see what is else printed as log.
            self._settle(verdict if self._run and self._run.job.is_trial else uncounted(result.received))
        elif result.received > said:
            self._fault(size_problem(verdict, result.received))
        elif said > result.limit:
            self._fault(over_limit(result.limit), "rejected")
        elif self.state == "busy":
            self.state = "owing"
            problem, seconds = size_problem(verdict, result.received), self._limits.kill_after_s
            self._deadline.set(seconds, f"{problem}; the rest did not come within {seconds:g} s")

    def _printed(self) -> None:
        """Look at the result, of which more has come."""
        result = self._output.result
        if result is not None and result.is_over and self.state in ("busy", "owing"):
            self._fault(over_limit(result.limit), "rejected")
        elif self.state == "owing":
            self._compare()

    def _settle(self, verdict: VerdictLine) -> None:
        run, self._run = self._run, None
        assert run is not None
        self.answered += 1
        if run.job.is_trial:
            self._peak_kib = peak_kib(self._pid)
        outcome = self._outcome(verdict.verdict, verdict.reason, retry_after_s=verdict.retry_after_s)
        self._output.end()
        self._rest()
        run.done(outcome)

    def _rest(self) -> None:
        self.state = "idle"
        if self._hung_up:
            self.end()
        elif self.answered == self._keep.recycle_after:
            self.finish()
        elif self._all_sent:
            self._deadline.stop()
            self._keeper.on_idle()
        else:
            self.state = "taking"
            self._deadline.set(
                self._limits.kill_after_s, "the action did not read the rest of a message after its verdict"
            )

    def _fault(self, reason: str, verdict: Verdict = "failed") -> None:
        self._fault_reason, self._fault_verdict = reason, verdict
        self.end()

    def _cut_short(self, code: int, why: str) -> Outcome:
        if self._killed:
            return self._outcome(KILLED.verdict, KILLED.reason)
        if self._fault_reason:
            return self._outcome(self._fault_verdict, why)
        ends = {"exit_code": code} if code >= 0 else {"signal": -code}
        problem = "the action ended without a verdict"
        if self.state == "owing":
            problem = f"{size_problem(self._verdict, self._output.received)} and ended"
        return self._outcome("failed", f"{problem}: {why}", **ends)

    def _outcome(self, verdict: Verdict, reason: str, **more: Any) -> Outcome:
        return Outcome(
            verdict,
            reason,
            stderr=self._output.error_tail,
            started_at=self._started_at,
            seconds=time.monotonic() - self._started,
            received=self._output.received,
            result=result.value if (result := self._output.result) else b"",
            peak_kib=self._peak_kib,
            **more,
        )
