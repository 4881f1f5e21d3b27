"""The breaker: a host on which every action fails at once must not eat the queue."""

from __future__ import annotations

from scripts.action.jobs import Outcome

# A failure within this time of its start says more about the host than about the message.
_AT_ONCE_S = 1.0


class Breaker:
    """Trips when `limit` runs in a row, each of another message, failed within a second of their start; 0: never."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._failed: set[str] = set()

    def trips(self, message_id: str, outcome: Outcome) -> bool:
        """Count one outcome; True when the host is no good. A rejected message (exit 65) does not count."""
        if outcome.verdict in ("rejected", "killed"):
            return False
        if outcome.verdict == "failed" and outcome.seconds < _AT_ONCE_S:
            self._failed.add(message_id)
        else:
            self._failed.clear()
        return 0 < self.limit <= len(self._failed)
