"""What is to be done with a message: before a run, by its past; after a run, by its outcome. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

from scripts.action.jobs import Outcome
from scripts.backoff import growing_s
from scripts.worker.headers import Handled


@dataclass(frozen=True)
class Policy:
    """How often a message is tried (runs in all), and the pauses between, in seconds: `backoff_s`, then doubled."""

    attempts: int = 3
    backoff_s: float = 1.0
    backoff_max_s: float = 64.0


@dataclass(frozen=True)
class Run:
    """Run the action; it is run number `attempt`. `alone`: beside no other in this worker."""

    attempt: int
    alone: bool = False


@dataclass(frozen=True)
class Ack:
    """Done with."""


@dataclass(frozen=True)
class Retry:
    """Let it wait in the broker, then come back."""

    pause_s: float


@dataclass(frozen=True)
class Fail:
    """To the failed queue."""

    reason: str


@dataclass(frozen=True)
class HandBack:
    """Back to the queue as if it had never been taken."""


Admission = Run | Fail
Decision = Ack | Retry | Fail | HandBack


def admit(past: Handled, policy: Policy) -> Admission:
    """What to do with a message that was just delivered.

    A delivery that was lost counts as an attempt: mostly the message was being worked on. But a worker that dies takes
    all it holds with it, so a message is never failed for that alone: its last attempt is made with nothing beside it.
    One with that mark was lost again then.
    """
    if past.alone:
        again = past.attempts < policy.attempts
        return Run(past.attempts + 1, alone=True) if again else Fail(worker_lost(past.attempts))
    used = past.attempts + past.lost
    if past.lost and used + 1 >= policy.attempts:
        return Run(policy.attempts, alone=True)
    return Run(used + 1)


def decide(outcome: Outcome, attempt: int, policy: Policy) -> Decision:
    """What to do with a message after run number `attempt`."""
    if outcome.verdict == "done":
        return Ack()
    if outcome.verdict in ("killed", "unstartable"):
        return HandBack()
    if outcome.verdict == "rejected":
        return Fail(outcome.reason)
    if attempt >= policy.attempts:
        return Fail(outcome.reason)
    if outcome.retry_after_s is not None:
        return Retry(outcome.retry_after_s)
    return Retry(growing_s(policy.backoff_s, attempt, policy.backoff_max_s))


def worker_lost(attempts: int) -> str:
    """The reason why a message failed that no action gave a verdict on."""
    return f"its worker or connection was lost in attempt {attempts}, in which nothing else was running"
