"""Runs whose delivery was lost with the connection: their outcome is used when the message comes back to us."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from scripts.worker.deliveries import Delivery
from scripts.worker.runs import Run

# Messages that went to other workers never come back; the oldest are forgotten.
_MOST = 1000


class Unclaimed:
    """Runs by the fingerprint of their message."""

    def __init__(self) -> None:
        self._runs: OrderedDict[tuple[Any, ...], list[Run]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._runs)

    def add(self, run: Run) -> None:
        """Remember a run whose delivery is lost."""
        self._runs.setdefault(run.delivery.fingerprint(), []).append(run)
        # The message comes back with its body; a thousand of them are not kept.
        run.delivery.body = b""
        if len(self._runs) > _MOST:
            self._runs.popitem(last=False)

    def claim(self, delivery: Delivery) -> Run | None:
        """The run of this same message, if we have one; it belongs to this delivery from now on."""
        fingerprint = delivery.fingerprint()
        runs = self._runs.get(fingerprint)
        if not runs:
            return None
        run = runs.pop(0)
        if not runs:
            del self._runs[fingerprint]
        run.delivery = delivery
        return run
