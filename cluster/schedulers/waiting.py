"""Times of waiting for instances, and the error of one that does not come up."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.apps.app import AppSpec
from cluster.schedulers import ChangeFailed
from scripts.errors import ClusterError

POLL_S = 0.2
SILENCE_S = 10.0  # a wait that is longer is told
SETTLED_S = 1.0  # an app without a health check works when it has run so long


class NotUp(ClusterError):
    """An instance has ended or is late; `summary` says so, `lines` are the last that it printed."""

    def __init__(self, summary: str, lines: Sequence[str]) -> None:
        self.summary, self.lines = summary, lines
        super().__init__(summary)

    def as_error(self, app: AppSpec, running: int) -> ChangeFailed:
        """Return the error for people: what came of the deploy, what runs now, and the last lines."""
        printed = "".join(f"\n  {line}" for line in self.lines) or " none"
        return ChangeFailed(
            f"deploy {app.id}: {self.summary}; {running} of {app.instances} instances run now. Its last lines:{printed}"
        )
