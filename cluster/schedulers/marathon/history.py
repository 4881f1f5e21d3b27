"""What was seen of an app's instances while a change is followed: Marathon's answers tell of the moment alone."""

from __future__ import annotations

import time

from cluster.schedulers.marathon.judgement import Goal
from cluster.schedulers.waiting import SETTLED_S
from scripts.json_values import mapping, mappings
from scripts.marathon.app_reasons import last_failure
from scripts.marathon.app_tasks import App, Task, fresh_failure, is_healthy, is_outdated, moment, runs


class History:
    """Remembers which instances of the present definition ended, and since when others run."""

    def __init__(self, goal: Goal) -> None:
        self._goal = goal
        self._failed: set[str] = set()
        self._seen: set[str] = set()
        self._there: set[str] = set()
        self._up_since: dict[str, float] = {}
        self.was_up = False

    @property
    def ended(self) -> int:
        """How many have failed, or were there and are no more: an exit code of 0 is no failure to Marathon."""
        return len(self._failed | (self._seen - self._there))

    def note(self, app: App) -> str:
        """Take in an answer; what to tell of a failure that was not told yet, else nothing."""
        now = time.monotonic()
        current = [task for task in mappings(app.get("tasks")) if not is_outdated(app, task)]
        self._there = {str(task.get("id")) for task in current}
        self._seen |= self._there
        up = [task for task in current if runs(task) and is_healthy(app, task)]
        self._up_since = {str(task.get("id")): self._since(task, now) for task in up}
        self.was_up = self.was_up or any(self._is_settled(app, since) for since in self._up_since.values())
        task = self.last_failed(app)
        if not task or task in self._failed:
            return ""
        self._failed.add(task)
        return last_failure(app)

    def is_steady(self, app: App) -> bool:
        """Whether all that is up is past the first moment, in which a wrong command ends; a health check tells more."""
        return all(self._is_settled(app, since) for since in self._up_since.values())

    def last_failed(self, app: App) -> str:
        """The id of the task of the present definition that failed last since the change; empty when none has."""
        failure = fresh_failure(app)
        changed = mapping(app.get("versionInfo")).get("lastConfigChangeAt")
        of_before = moment(failure.get("timestamp")) < moment(self._goal.version)
        if of_before or moment(failure.get("version") or changed) < moment(changed):
            return ""
        return str(failure.get("taskId") or failure.get("timestamp") or "")

    def _since(self, task: Task, now: float) -> float:
        """Since when an instance is up; one that ran before the change has proved itself."""
        is_older = moment(task.get("startedAt")) < moment(self._goal.version)
        return self._up_since.get(str(task.get("id")), now - SETTLED_S if is_older else now)

    def _is_settled(self, app: App, since: float) -> bool:
        return bool(app.get("healthChecks")) or time.monotonic() - since >= SETTLED_S
