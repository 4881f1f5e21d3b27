"""A look at the broker's policies while messages are published: a queue that drops them confirms them nevertheless."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress

from scripts.amqp.management import Management
from scripts.amqp.policies import losses
from scripts.background import in_background
from scripts.errors import ClusterError


class PolicyLook:
    """Looks in the background, as soon as the queue is there; without an API nothing is said."""

    def __init__(self, management: Callable[[], Management], queue: str, limit_s: float) -> None:
        """`limit_s`: how long to wait in the end for an API that does not answer."""
        self._management = management
        self._queue = queue
        self._limit_s = limit_s
        self._found: Future[list[str]] | None = None

    def start(self) -> None:
        """Look now."""
        self._found = in_background(lambda: losses(self._management(), self._queue, [self._queue], 0, 0))

    def tell(self, say: Callable[[str], None]) -> None:
        """Say what was found."""
        if self._found:
            with suppress(ClusterError, TimeoutError):
                for line in self._found.result(self._limit_s):
                    say(line)
