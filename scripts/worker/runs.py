"""Messages in the worker's hands, from their delivery until they are settled."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Literal

from scripts.action.jobs import Outcome
from scripts.worker.deliveries import Delivery

# Messages that went to other workers never come back; the oldest are forgotten.
_MOST_ORPHANED = 1000


@dataclass(slots=True, eq=False)
class Run:
    """An attempt for a message.

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
        """True while the action runs."""
        return self.begun and self.outcome is None


class OrphanedRuns:
    """Runs whose delivery was lost with the connection: their outcome is used when the message comes back to us."""

    def __init__(self) -> None:
        self._runs: OrderedDict[tuple[Any, ...], list[Run]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._runs)

    def add(self, run: Run) -> None:
        """Remember a run whose delivery is lost."""
        self._runs.setdefault(run.delivery.fingerprint(), []).append(run)
        # The message comes back with its body; a thousand of them are not kept.
        run.delivery.body = b""
        if len(self._runs) > _MOST_ORPHANED:
            self._runs.popitem(last=False)

    def claim(self, delivery: Delivery) -> Run | None:
        """Return the run of this same message, if there is one; it belongs to this delivery from now on."""
        fingerprint = delivery.fingerprint()
        runs = self._runs.get(fingerprint)
        if not runs:
            return None
        run = runs.pop(0)
        if not runs:
            del self._runs[fingerprint]
        run.delivery = delivery
        return run
