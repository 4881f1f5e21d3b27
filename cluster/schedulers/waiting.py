"""Waiting for instances: until they work, and until they have finished."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from cluster.apps.app import AppSpec
from scripts.errors import ClusterError

POLL_S = 0.2
SILENCE_S = 10.0  # a wait that is longer is told
SETTLED_S = 1.0  # an app without a health check works when it has run so long

T = TypeVar("T")


class NotUp(ClusterError):
    """An instance has ended or is late; `summary` says so, `lines` are the last that it printed."""

    def __init__(self, summary: str, lines: Sequence[str]) -> None:
        self.summary, self.lines = summary, lines
        super().__init__(summary)

    @classmethod
    def late(cls, name: str, timeout_s: float, check: str, lines: Sequence[str]) -> NotUp:
        """Return the error of one that is still not up; `check` is what its health check said."""
        says = f" (its health check says: {check})" if check else ""
        return cls(f"{name} does not work after {timeout_s:g} s{says} and is left running", lines)

    def told(self, app: AppSpec, running: int) -> ClusterError:
        """Return the error for people: what came of the deploy, what runs now, and the last lines."""
        printed = "".join(f"\n  {line}" for line in self.lines) or " none"
        return ClusterError(
            f"deploy {app.id}: {self.summary}; {running} of {app.instances} instances run now. Its last lines:{printed}"
        )


def wait(pending: Sequence[T], works: Callable[[T], bool], late: Callable[[T], NotUp], timeout_s: float) -> None:
    """Return when all instances work; `works` raises NotUp for one that has ended.

    Raises:
        NotUp: one has ended, or after `timeout_s` the first that is `late`.
    """
    deadline = time.monotonic() + timeout_s
    while pending := [instance for instance in pending if not works(instance)]:
        if time.monotonic() > deadline:
            raise late(pending[0])
        time.sleep(POLL_S)


def grace_s(app: AppSpec, drain: bool) -> float:
    """Return the seconds that an instance has to finish: with `drain` as long as our own stop gives."""
    return app.stop_grace_s if drain else app.kill_grace_s


def let_finish(
    runs: Mapping[str, Callable[[], bool]], grace_s: Mapping[str, float], say: Callable[[str], None]
) -> None:
    """Wait for instances that were asked to stop, each for its own grace; `say` what for if it takes its time."""
    begun = time.monotonic()
    told = False
    while left := [name for name in runs if runs[name]() and time.monotonic() - begun < grace_s[name]]:
        if time.monotonic() - begun > SILENCE_S and not told:
            longest_s = max(grace_s[name] for name in left)
            say(f"waiting for {', '.join(left)} to finish, {longest_s:g} s at most (--now does not wait)")
            told = True
        time.sleep(POLL_S)
