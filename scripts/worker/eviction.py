"""Evictions: a cluster takes a worker's place back and ends the actions with it; no message is to blame for that.

There TERM goes to every process of the worker's job at once, the actions among them, and KILL follows after a while. An
engine of such a cluster says so by the environment variable, whose value is the seconds that the worker has.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from scripts.action.jobs import Outcome
from scripts.errors import WrongUsage
from scripts.event_loop import EventLoop
from scripts.number import number

VARIABLE = "CLUSTER_WORKER_EVICTION_S"

# Whatever an action that is told to end fails with so soon, it fails with because of that.
_NEAR_S = 2.0

# Of two that are told at once the action may be gone before the worker knows. Few others die as TERM lets them die.
_LATER_S = 0.25
_LATER_OF_TERM_S = _NEAR_S


@dataclass(frozen=True, eq=False)
class _Ended:
    """A run that was over at a time of the monotonic clock; `judged` is called with its outcome."""

    outcome: Outcome
    at_s: float
    judged: Callable[[Outcome], None]


@dataclass(eq=False)
class Eviction:
    """Tells runs that an eviction ended, which are handed back, from those that failed by themselves.

    `grace_s`: how long after TERM a run may go on; None: this worker is not evicted, and TERM is as any stop.
    """

    loop: EventLoop
    grace_s: float | None
    _began_s: float | None = None
    _undecided: list[_Ended] = field(default_factory=list)

    @classmethod
    def of(cls, loop: EventLoop, environ: Mapping[str, str]) -> Eviction:
        """Read the environment variable."""
        text = environ.get(VARIABLE)
        try:
            return cls(loop, number(float, text) if text else None)
        except ValueError as error:
            raise WrongUsage(f"{VARIABLE}: {text!r} is not a time in seconds: {error}") from error

    @property
    def is_expected(self) -> bool:
        """True where TERM means an eviction."""
        return self.grace_s is not None

    @property
    def has_begun(self) -> bool:
        """True since the TERM."""
        return self._began_s is not None

    @property
    def undecided(self) -> int:
        """Number of failures that may yet turn out to be an eviction's."""
        return len(self._undecided)

    def begin(self, grace_is_over: Callable[[], None]) -> bool:
        """Begin with the grace, at whose end the callback is called; False where that was done before."""
        if self.grace_s is None or self.has_begun:
            return False
        self._began_s = time.monotonic()
        self.loop.call_later(self.grace_s, grace_is_over)
        for ended in self._undecided:
            self.loop.call_later(0, partial(self._decide, ended))
        return True

    def judge(self, outcome: Outcome, judged: Callable[[Outcome], None]) -> None:
        """Call `judged` with the outcome of a run that is over just now, or `killed` in its place; at once or soon."""
        ended = _Ended(outcome, time.monotonic(), judged)
        if self.grace_s is None or self.has_begun or not _has_failed(outcome):
            judged(self._seen(ended))
        else:
            self._undecided.append(ended)
            wait_s = _LATER_OF_TERM_S if _died_of_term(outcome) else _LATER_S
            self.loop.call_later(wait_s, partial(self._decide, ended))

    def _decide(self, ended: _Ended) -> None:
        if ended in self._undecided:
            self._undecided.remove(ended)
            ended.judged(self._seen(ended))

    def _seen(self, ended: _Ended) -> Outcome:
        outcome, began_s = ended.outcome, self._began_s
        if began_s is None or not _has_failed(outcome):
            return outcome
        since_s = ended.at_s - began_s
        if abs(since_s) > _NEAR_S and not (since_s > 0 and _died_of_term(outcome)):
            return outcome
        return replace(outcome, verdict="killed", reason=f"{outcome.reason} as the worker was evicted")


def _has_failed(outcome: Outcome) -> bool:
    return outcome.verdict in ("failed", "rejected")


def _died_of_term(outcome: Outcome) -> bool:
    # A shell says 128 + the number of the signal that ended its child.
    return outcome.signal == signal.SIGTERM or outcome.exit_code == 128 + signal.SIGTERM
