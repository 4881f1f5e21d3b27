"""What a worker does: from which queue, by which rules, and what its actions are told."""

from __future__ import annotations

from dataclasses import dataclass

from scripts.worker.verdicts import Policy


@dataclass(frozen=True)
class Work:
    """From which queue, by which rules, and what an action is told.

    `ends_unproven`: the worker ends when the breaker opens before anything succeeded.
    """

    queue: str
    policy: Policy
    drain_s: float | None
    ends_unproven: bool
