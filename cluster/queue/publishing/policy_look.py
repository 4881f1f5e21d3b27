"""A look at the broker's policies while messages are published: a queue that drops them confirms them nevertheless."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import Thread

from scripts.amqp.management import Management
from scripts.amqp.policies import losses
from scripts.errors import ClusterError


class PolicyLook:
    """Looks in a thread of its own, as soon as the queue is there; without an API nothing is said."""

    def __init__(self, management: Callable[[], Management], queue: str, patience_s: float) -> None:
        """`patience_s`: how long to wait in the end for an API that does not answer."""
        self._management = management
        self._queue = queue
        self._patience_s = patience_s
        self._lines: SimpleQueue[Sequence[str]] = SimpleQueue()
        self._started = False

    def start(self) -> None:
        """Look now."""
        self._started = True
        Thread(target=self._look, daemon=True).start()

    def tell(self, say: Callable[[str], None]) -> None:
        """Say what was found."""
        if self._started:
            try:
                for line in self._lines.get(timeout=self._patience_s):
                    say(line)
            except Empty:
                return

    def _look(self) -> None:
        try:
            self._lines.put(losses(self._management(), self._queue, [self._queue], attempts=0, patience_s=0))
        except ClusterError:
            self._lines.put(())
