"""The life of one kept-alive child, and what each thing that it does means (docs/keep-alive.md)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from scripts.action.cgroup import OutOfMemoryKills
from scripts.action.deadline import Deadline
from scripts.action.exit_reason import exit_reason
from scripts.action.exit_watch import ExitWatch
from scripts.action.jobs import Job, Outcome, Verdict
from scripts.action.kept_child import KeptChild, Program
from scripts.action.output import tag_of
from scripts.action.verdict_line import PROTOCOL, VerdictLine, answer, greeting_problem, unasked_problem
from scripts.event_loop import EventLoop

# A child that closes a pipe is as a rule about to end: its exit code says more than the pipe.
LOST_GRACE_S = 1.0

_VERDICTS: dict[str, Verdict] = {"ok": "done", "retry": "failed", "reject": "rejected"}

# loading: not ready yet.  idle: waits for a message.  busy: has one in hand.  taking: gave its verdict and has to read
# the rest of the message.  finishing: its STDIN has ended.  ending: is being ended, or cannot be used any more.
State = Literal["loading", "idle", "busy", "taking", "finishing", "ending"]


@dataclass(frozen=True)
class Run:
    """A message in the form in which it is sent, and who waits for its outcome."""

    job: Job
    frame: bytes
    done: Callable[[Outcome], None]


@dataclass(frozen=True)
class Terms:
    """What every child is told and held to; times in seconds, None for no limit."""

    program: Program
    ready_timeout_s: float
    timeout_s: float | None
    recycle_after: int | None
    tagged: bool


class Keeper(Protocol):
    """Who started the child; always told from the loop."""

    loop: EventLoop
    watch: ExitWatch
    out_of_memory: OutOfMemoryKills

    def rested(self, life: Life) -> None:
        """The child can take a message again; the outcome of its last one follows."""

    def woken(self, life: Life) -> None:
        """The child can take a message now, and no outcome tells so."""

    def unusable(self, life: Life) -> None:
        """The child can take no message any more."""

    def bounced(self, run: Run) -> None:
        """The child ended before it read anything of this message: it is another one's."""

    def over(self, life: Life, why: str) -> None:
        """The child is gone."""


class Life:
    """From the start of a child to its end; one message in hand at most.

    `answered` counts its messages. Once it is over, `lived_s` says how many seconds it took, `faulty` that it did not
    end in good order, `bounced` that it left a message unread.

    Raises:
        OSError, ValueError: it cannot be started.
    """

    def __init__(self, keeper: Keeper, terms: Terms) -> None:
        self._keeper, self._terms = keeper, terms
        self._child = KeptChild(keeper.loop, keeper.watch, terms.program, self)
        self._deadline = Deadline(keeper.loop, self._fault)
        self._deadline.set(
            terms.ready_timeout_s, f"no `ready {PROTOCOL}` on file descriptor 3 within {terms.ready_timeout_s:g} s"
        )
        self.state: State = "loading"
        self._began, self.lived_s = time.monotonic(), 0.0
        self.was_ready, self.faulty, self.bounced = False, True, False
        self.answered = 0
        self._run: Run | None = None
        self._hung_up = self._killed = False
        self._fault_reason = ""

    def start(self, run: Run) -> bool:
        """Hand the message to the idle child; False when that one has just lost our trust and is being replaced."""
        if unasked := self._child.unasked():
            self._fault(unasked_problem(unasked))
            return False
        self._run, self.state = run, "busy"
        self._child.begin(tag_of(run.job.id) if self._terms.tagged else b"")
        self._started_at, self._started = time.time(), time.monotonic()
        limit = self._terms.timeout_s
        if limit is not None:
            self._deadline.set(limit, f"over the time limit of {limit:g} s")
        self._all_sent = self._child.send(run.frame)
        return True

    def finish(self) -> None:
        """No more messages for this child; one that has not loaded yet is ended."""
        if self.state == "loading":
            self.end()
        elif self.state in ("idle", "taking"):
            self.state = "finishing"
            self._child.finish()
            self._deadline.set(self._terms.program.kill_after_s, "the action did not finish when its STDIN ended")

    def kill(self) -> None:
        """End the child; the message in hand is `killed`."""
        self._killed = True
        self.end()

    def end(self) -> None:
        """TERM, then KILL."""
        self.state = "ending"
        self._deadline.lift()
        self._keeper.unusable(self)
        self._child.terminate()

    def heard(self, line: bytes, more: bytes) -> None:
        """The child wrote a line on descriptor 3."""
        if self.state == "busy":
            verdict = answer(line, more)
            if isinstance(verdict, VerdictLine):
                self._answered(verdict)
            else:
                self._fault(verdict)
        elif self.state == "loading":
            problem = greeting_problem(line, more)
            if problem:
                self._fault(problem)
            else:
                self._ready()
        elif self.state in ("idle", "taking"):
            self._fault(unasked_problem(line))

    def lost(self, pipe: str) -> None:
        """The child closed a pipe."""
        if self.state not in ("finishing", "ending"):
            self._hung_up = True
            self._keeper.unusable(self)
            self._deadline.set(LOST_GRACE_S, f"the action closed {pipe}")

    def taken(self) -> None:
        """The child has read all but what is in the pipe."""
        self._all_sent = True
        if self.state == "taking":
            self.state = "idle"
            self._deadline.lift()
            self._keeper.woken(self)

    def exited(self) -> None:
        """The child itself is gone; the rest of its group follows."""
        self._hung_up = True
        self._deadline.lift()
        self._keeper.unusable(self)

    def ended(self, status: int) -> None:
        """The child and its group are gone."""
        self._deadline.close()
        self.lived_s = time.monotonic() - self._began
        code = os.waitstatus_to_exitcode(status)
        why = self._fault_reason or exit_reason(code, self._keeper.out_of_memory)
        run, self._run = self._run, None
        self.bounced = run is not None and not self._killed and not self._fault_reason and self._child.untouched()
        if run is None or self.bounced:
            self.faulty = bool(self._fault_reason) or (self.answered == 0 and self.state != "finishing")
        if run is not None and self.bounced:
            self._keeper.bounced(run)
        self._keeper.over(self, why)
        if run is not None and not self.bounced:
            run.done(self._cut_short(code, why))

    def _ready(self) -> None:
        self.was_ready = True
        if not self._hung_up:
            self.state = "idle"
            self._deadline.lift()
            self._keeper.woken(self)

    def _answered(self, verdict: VerdictLine) -> None:
        run, self._run = self._run, None
        assert run is not None
        self.answered += 1
        # The loop may learn of the verdict before it learns of what was printed ahead of it.
        self._child.catch_up()
        outcome = self._outcome(
            _VERDICTS[verdict.word],
            verdict.why or ("" if verdict.word == "ok" else verdict.word),
            retry_after_s=verdict.retry_after_s,
        )
        self._rest()
        run.done(outcome)

    def _rest(self) -> None:
        self.state = "idle"
        if self._hung_up:
            self.end()
        elif self.answered == self._terms.recycle_after:
            self.finish()
        elif self._all_sent:
            self._deadline.lift()
            self._keeper.rested(self)
        else:
            self.state = "taking"
            self._deadline.set(
                self._terms.program.kill_after_s, "the action did not read the rest of a message after its verdict"
            )

    def _fault(self, reason: str) -> None:
        self._fault_reason = reason
        self.end()

    def _cut_short(self, code: int, why: str) -> Outcome:
        if self._killed:
            return self._outcome("killed", "stopped with the worker")
        if self._fault_reason:
            return self._outcome("failed", why)
        ends = {"exit_code": code} if code >= 0 else {"signal": -code}
        return self._outcome("failed", f"the action ended without a verdict: {why}", **ends)

    def _outcome(self, verdict: Verdict, reason: str, **more: Any) -> Outcome:
        return Outcome(
            verdict,
            reason,
            stderr=self._child.stderr.tail,
            started_at=self._started_at,
            seconds=time.monotonic() - self._started,
            received=self._child.stdout.received,
            **more,
        )
