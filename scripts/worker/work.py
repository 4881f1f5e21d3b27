"""What a worker does: from which queue, by which rules, and what its actions are told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scripts.action.jobs import Job
from scripts.worker import told
from scripts.worker.runs import Run
from scripts.worker.verdicts import Policy


@dataclass(frozen=True)
class Work:
    """From which queue, by which rules, and what an action is told.

    `environment` is what a process gets besides the AMQP_* variables (None: no process a message is started);
    `metadata`: whether the runner sends a message's metadata; `ends_unproven`: the worker ends when the breaker opens
    before anything succeeded.
    """

    queue: str
    policy: Policy
    drain_s: float | None
    environment: Mapping[str, str] | None
    metadata: bool
    ends_unproven: bool

    def job(self, run: Run) -> Job:
        """The message of a run as its runner gets it."""
        delivery = run.delivery
        facts = (self.queue, run.attempt, delivery.redelivered, delivery.routing_key, run.id, delivery.properties)
        return Job(
            run.id,
            delivery.body,
            {} if self.environment is None else {**self.environment, **told.variables(*facts)},
            told.metadata(*facts) if self.metadata else {},
        )
