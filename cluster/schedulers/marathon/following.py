"""From a change to instances that work, or the reason why it does not come to that."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from cluster.schedulers.marathon.api import Api, App
from cluster.schedulers.marathon.judgement import Goal, Judgement, Tally, judge
from scripts.app_reasons import last_failure, waiting_for
from scripts.app_tasks import fresh_failure, moment
from scripts.errors import ClusterError, ServiceAway

POLL_S = 0.5

# How long instances may be missing after a deployment is over: one may have ended in that moment.
SETTLE_S = 5

# After so many failures in a row, with no instance ever up, going on would change nothing.
FAILURES = 3


class NotDeployed(ClusterError):
    """A change did not come to its end."""


@dataclass(frozen=True)
class Watch:
    """Who is told: `say` a line for each event, `show` what goes on now."""

    say: Callable[[str], None]
    show: Callable[[str], None]


class Following:
    """Follows one change; `follow` may be called once."""

    def __init__(self, api: Api, goal: Goal, watch: Watch) -> None:
        self._api, self._goal, self._watch = api, goal, watch
        self._app_id = str(goal.wanted["id"])
        self._failed: set[str] = set()
        self._was_up = False
        self._undone_since: float | None = None

    def follow(self, timeout_s: float) -> str:
        """Return when all instances work, with how many.

        Raises:
            NotDeployed: it failed, or did not end in time; it says why.
            ServiceAway: Marathon has not answered for as long.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                words = self._look(is_late=time.monotonic() >= deadline, timeout_s=timeout_s)
            except ServiceAway as away:
                if time.monotonic() >= deadline:
                    raise
                self._watch.show(str(away))
                words = ""
            if words:
                return words
            time.sleep(min(POLL_S, max(0.0, deadline - time.monotonic())))

    def _look(self, is_late: bool, timeout_s: float) -> str:
        """Look once; how it ended, or nothing while it goes on."""
        deployments = self._api.deployments()
        app = self._api.app(self._app_id)
        found = judge(self._goal, app, deployments)
        if found.state == "done":
            return found.words
        if found.state == "failed" or app is None:
            raise NotDeployed(found.words)
        self._note_failure(app)
        reasons = self._reasons(app)
        self._watch.show("; ".join([found.words, *reasons[-1:]]))
        why = self._given_up(found) or (f"not done after {timeout_s:g} s: {found.words}" if is_late else "")
        if why:
            raise NotDeployed("; ".join([why, *reasons]))
        return ""

    def _reasons(self, app: App) -> list[str]:
        failure = last_failure(app) if self._new_failure(app) else ""
        waiting = waiting_for(self._api.queue(), self._app_id)
        return [*([f"the last one {failure}"] if failure else []), *([waiting] if waiting else [])]

    def _note_failure(self, app: App) -> None:
        """Tell each failure once; Marathon keeps the last one alone."""
        self._was_up = self._was_up or Tally.of(app).up > 0
        task = self._new_failure(app)
        if task and task not in self._failed:
            self._failed.add(task)
            self._watch.say(f"an instance of {self._app_id} {last_failure(app)}")

    def _new_failure(self, app: App) -> str:
        """The id of the last task that failed since this change; empty when none has."""
        failure = fresh_failure(app)
        of_before = moment(failure.get("timestamp")) < moment(self._goal.version)
        if of_before and failure.get("version") != self._goal.version:
            return ""
        return str(failure.get("taskId") or failure.get("timestamp") or "")

    def _given_up(self, found: Judgement) -> str:
        """Why to wait no longer; empty when there is hope."""
        if len(self._failed) >= FAILURES and not self._was_up:
            return f"{len(self._failed)} instances failed and none came up"
        if found.state != "undone":
            self._undone_since = None
            return ""
        self._undone_since = self._undone_since or time.monotonic()
        return found.words if time.monotonic() - self._undone_since >= SETTLE_S else ""
