"""What is to be done with a message: before a run, by its past; after a run, by its outcome. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

from scripts.headers import Handled
from scripts.jobs import Outcome


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
class Isolate:
    """Send the message round once more, marked to be run alone, `attempts` being counted so far."""

    attempts: int


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


Admission = Run | Isolate | Fail
Decision = Ack | Retry | Fail | HandBack


def admit(past: Handled, policy: Policy) -> Admission:
    """What to do with a message that was just delivered.

    A delivery that was lost counts as an attempt: mostly the message was being worked on. But a worker that dies takes
    all it holds with it, so a lost delivery alone proves nothing. Before the last attempt such a suspect is
    marked; a marked one runs with nothing beside it, and if its worker is lost then, it was the message.
    """
    used = past.attempts + past.lost
    if past.alone:
        return Fail(_taken_down(used)) if past.lost else Run(used + 1, alone=True)
    if past.lost and used + 1 >= policy.attempts:
        return Isolate(min(used, policy.attempts - 1))
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
    return Retry(min(policy.backoff_s * 2 ** (attempt - 1), policy.backoff_max_s))


def _taken_down(attempts: int) -> str:
    return f"worker or connection lost during {attempts} attempts, at the last of which nothing else was running"
