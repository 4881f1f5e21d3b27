"""Looking at the broker's policies for the queues that a worker uses, as far as its management API tells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scripts.action.output import say
from scripts.amqp.management import management_of
from scripts.amqp.policies import losses
from scripts.event_loop import EventLoop, in_thread

# The figures of a new queue come within ten seconds, on a busy machine later.
_PATIENCE_S = 30.0


class PolicyWatch:
    """Looks at each queue once, and warns of what loses messages; without an API nothing is said."""

    def __init__(self, loop: EventLoop, queue: str, attempts: int, management_url: str | None) -> None:
        self._loop = loop
        self._queue = queue
        self._attempts = attempts
        self._url = management_url
        self._looked: set[str] = set()

    def look(self, parameters: Any, names: Sequence[str]) -> None:
        """Look at those of the queues that are new, in a thread; `parameters` are of the connection to the broker."""
        new = [name for name in names if name not in self._looked]
        if new:
            self._looked.update(new)
            management = management_of(parameters, self._url)
            in_thread(
                self._loop,
                lambda: losses(management, self._queue, new, self._attempts, _PATIENCE_S),
                _tell,
                lambda _reason: None,
            )


def _tell(lines: list[str]) -> None:
    for line in lines:
        say(line)
