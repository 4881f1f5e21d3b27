"""A message in the worker's hands, from its delivery until it is settled."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from scripts.action.jobs import Outcome
from scripts.worker.deliveries import Delivery


@dataclass(slots=True, eq=False)
class Run:
    """One attempt for one message.

    `alone`: it shares the worker with no other; `begun`: the action was started; `copy`: whether a copy of the message
    is on its way to the broker or safe there; `trial`: its number among the first attempts in this worker (None: it is
    a retry); `size`: of the body, in bytes.
    """

    delivery: Delivery
    id: str
    attempt: int = 1
    alone: bool = False
    begun: bool = False
    outcome: Outcome | None = None
    copy: Literal["none", "sent", "safe"] = "none"
    trial: int | None = None
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = len(self.delivery.body)

    @property
    def in_action(self) -> bool:
        """The action was started and has not ended."""
        return self.begun and self.outcome is None
