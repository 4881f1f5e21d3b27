"""Decisions on a message: before a run, by its past; after a run, by its outcome. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scripts.action.jobs import Outcome
from scripts.backoff import growing_s
from scripts.worker.headers import Past


@dataclass(frozen=True)
class Policy:
    """The number of attempts in all, and the pauses between them, in seconds: `backoff_s`, then doubled."""

    attempts: int = 3
    backoff_s: float = 1.0
    backoff_max_s: float = 64.0


@dataclass(frozen=True)
class Admission:
    """The next run of a message: its number, and whether it has the worker for itself; or why it is refused."""

    attempt: int
    alone: bool = False
    refusal: str = ""


@dataclass(frozen=True)
class Decision:
    """The further way of a message; a retry comes after `pause_s`."""

    way: Literal["ack", "retry", "fail", "hand back"]
    pause_s: float = 0.0


def admit(past: Past, policy: Policy) -> Admission:
    """Decide on the run of a message that was just delivered.

    A delivery that was lost counts as an attempt: mostly the message was being worked on. But a worker that dies takes
    all it holds with it, so a message is never failed for that alone: its last attempt is made with nothing beside it.
    One with that mark was lost again then.
    """
    if past.alone and past.attempts >= policy.attempts:
        return Admission(past.attempts, alone=True, refusal=worker_lost(past.attempts))
    if past.alone:
        return Admission(past.attempts + 1, alone=True)
    used = past.attempts + past.lost
    if past.lost and used + 1 >= policy.attempts:
        return Admission(policy.attempts, alone=True)
    return Admission(used + 1)


def decide(outcome: Outcome, attempt: int, policy: Policy) -> Decision:
    """Decide on the way of a message after run number `attempt`."""
    if outcome.verdict == "done":
        return Decision("ack")
    if outcome.verdict in ("killed", "unstartable"):
        return Decision("hand back")
    if outcome.verdict == "rejected" or attempt >= policy.attempts:
        return Decision("fail")
    if outcome.retry_after_s is not None:
        return Decision("retry", outcome.retry_after_s)
    return Decision("retry", growing_s(policy.backoff_s, attempt, policy.backoff_max_s))


def worker_lost(attempts: int) -> str:
    """Return the reason why a message failed that no action gave a verdict on."""
    return f"its worker or connection was lost in attempt {attempts}, in which nothing else was running"
