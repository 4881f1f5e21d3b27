"""Decisions on a message: before a run, by its past; after a run, by its outcome; and how the log tells of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from scripts.action.jobs import Outcome
from scripts.amqp.queues import true_pause_s
from scripts.backoff import growing_s
from scripts.worker.headers import Past

# Said once, for people and for who watches whether a new action works at all.
FIRST_SUCCESS = "the first message succeeded"

# Where a message goes that failed for good, in the log: its sender may wait for its result.
TO_THE_FAILED_QUEUE = "to the failed queue"
SAID_IN_RESULT = "its result says so"

_THEN = f"again in|{TO_THE_FAILED_QUEUE}|{SAID_IN_RESULT}"
_FAILED = re.compile(rf"cluster_worker: (.+?): .*, attempt \d+ of \d+; (?:{_THEN})")


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


def attempt_line(
    message_id: str, outcome: Outcome, attempt: int, policy: Policy, decision: Decision, has_result: bool = False
) -> str:
    """Return the log's line on an attempt that did not succeed; `Verdicts` reads it."""
    ended = f"{message_id}: {outcome.reason} after {outcome.seconds:.1f} s"
    if decision.way == "hand back":
        return f"{ended}; back to the queue"
    failed = SAID_IN_RESULT if has_result else TO_THE_FAILED_QUEUE
    then = next_step(decision) if decision.way == "retry" else failed
    return f"{ended}, attempt {attempt} of {policy.attempts}; {then}"


def next_step(decision: Decision) -> str:
    """Return what becomes of a message for which nobody waits, in a few words."""
    if decision.way == "retry":
        return f"again in {true_pause_s(decision.pause_s)} s"
    return "done" if decision.way == "ack" else TO_THE_FAILED_QUEUE


@dataclass(frozen=True)
class Verdicts:
    """The outcome of the first messages of workers, as their logs have it."""

    succeeded: bool
    failed_runs: int
    failed_messages: int
    last: str

    @classmethod
    def read(cls, lines: Iterable[str]) -> Verdicts:
        """Read what workers have said, line by line."""
        texts = list(lines)
        failed = [(match[1], text) for text in texts if (match := _FAILED.match(text))]
        return cls(
            f"cluster_worker: {FIRST_SUCCESS}" in texts,
            len(failed),
            # Some have no id of their own, or the same; and some were tried before.
            max(len({message for message, _ in failed}), sum(", attempt 1 of " in text for _, text in failed)),
            failed[-1][1].removeprefix("cluster_worker: ") if failed else "",
        )
