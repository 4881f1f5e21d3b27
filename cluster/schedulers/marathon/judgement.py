"""Marathon's answers as people know them: tasks as instances, and how far a change is.

A deployment that is over is not listed any more, whether it succeeded, was cancelled, reverted or replaced by another;
only the app tells which. One that cannot succeed stays for ever.

When a replacement begins, Marathon ends as many old instances as are healthy and not needed, and one more for each new
one that becomes healthy (TaskReplaceActor.scala of 1.10; up to 1.9 it counted all that run). Where no instance may be
beside another, as with data, an old one that was not healthy then stays where it is, and so does one that never found
an agent: the new one waits for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor
from typing import Any, Literal

from cluster.apps.app import AppStatus, Instance, State
from cluster.schedulers import FINISHING
from cluster.schedulers.marathon.definition import app_of, is_same
from scripts.marathon.answers import App, Task, is_healthy, is_outdated, mapping, mappings, moment, runs
from scripts.marathon.app_reasons import last_failure, reasons
from scripts.marathon.discovery import address, app_ports

_STARTING = ("TASK_STAGING", "TASK_STARTING", None)
_OVER = ("TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_ERROR", "TASK_GONE", "TASK_DROPPED", "TASK_LOST")
_WORDS = {
    "TASK_UNREACHABLE": "its agent cannot be reached",
    "TASK_UNKNOWN": "its agent does not know it any more",
}


def status_of(app: App, queue: Sequence[Mapping[str, Any]]) -> AppStatus:
    """Return the app's instances, oldest first; what is wanted and not there is one more, whose detail says why."""
    app_id, found = str(app.get("id")), [_instance(app, task) for task in oldest_first(app)]
    lacking = int(app.get("instances") or 0) - len(found)
    if lacking > 0:
        words = "; ".join([f"{lacking} to be started", *reasons(app, queue, last_failure(app))])
        found.append(Instance(app_id, "starting", detail=words))
    return AppStatus(app_of(app), tuple(found))


def oldest_first(app: App) -> list[Task]:
    """Return the tasks that are not over; those that have not started come last."""
    tasks = [task for task in mappings(app.get("tasks")) if task.get("state") not in _OVER]
    return sorted(tasks, key=lambda task: (str(task.get("startedAt") or "~"), str(task.get("id"))))


def _instance(app: App, task: Task) -> Instance:
    state, detail = _state(app, task)
    old = ", an earlier version" if is_outdated(app, task) else ""
    host = f"on {task['host']}" if task.get("host") else ""
    image = mapping(mapping(app.get("container")).get("docker")).get("image", "")
    words = ", ".join(part for part in (host, detail) if part) + old
    found = {port.name or str(index): address(task, port) for index, port in enumerate(app_ports(app))}
    addresses = {name: where for name, where in found.items() if where}
    started_at = moment(task.get("startedAt")) if state != "stopped" else 0
    return Instance(str(task.get("id")), state, "" if old else str(image), addresses, words, started_at or None)


def _state(app: App, task: Task) -> tuple[State, str]:
    if not runs(task):
        state = task.get("state")
        if state == "TASK_KILLING":
            return "stopping", FINISHING
        return ("starting", "") if state in _STARTING else ("stopped", _WORDS.get(str(state), str(state)))
    if is_healthy(app, task):
        return "running", ""
    results = mappings(task.get("healthCheckResults"))
    cause = next((str(each["lastFailureCause"]) for each in results if each.get("lastFailureCause")), "")
    if not any(each.get("alive") is False for each in results):
        return "starting", "not healthy yet"
    return "unhealthy", f"not healthy{f': {cause}' if cause else ''}"


@dataclass(frozen=True)
class Goal:
    """The end that a change shall come to: the app's definition, and the deployment and version as Marathon named them.

    `before` is what ran until then (None: nothing did). A change that changed nothing has no deployment; one that
    `is_scaled` changed nothing but the number of instances.
    """

    wanted: App
    deployment: str
    version: str
    before: App | None = None

    @property
    def app_id(self) -> str:
        """The app's id."""
        return str(self.wanted["id"])

    @property
    def is_scaled(self) -> bool:
        """True where the number of instances is all that changed."""
        old, new = self.before or {}, self.wanted
        return old.get("instances", 1) != new.get("instances", 1) and is_same(old, new)


@dataclass(frozen=True)
class Judgement:
    """A stage of a change, in words.

    `undone` means that the deployment is over and instances are missing: that may be a moment between two answers.
    """

    state: Literal["going", "done", "failed", "undone"]
    words: str


@dataclass(frozen=True)
class Tally:
    """The instances of an app.

    Of its present definition: wanted, running, and up, which is running and healthy where there are checks. `surplus`
    are those of earlier definitions that run, and those beyond what is wanted; `leaving` is asked to end.
    """

    wanted: int
    up: int
    running: int
    surplus: int
    leaving: int

    @classmethod
    def of(cls, app: App) -> Tally:
        """Count what an answer has."""
        tasks = mappings(app.get("tasks"))
        running = [task for task in tasks if runs(task)]
        current = [task for task in running if not is_outdated(app, task)]
        wanted = int(app.get("instances") or 0)
        return cls(
            wanted=wanted,
            up=sum(is_healthy(app, task) for task in current),
            running=len(current),
            surplus=len(running) - min(len(current), wanted),
            leaving=sum(task.get("state") == "TASK_KILLING" for task in tasks),
        )

    @property
    def is_complete(self) -> bool:
        """True where what is wanted is up, and nothing else is there."""
        return self.up == self.wanted and not self.surplus and not self.leaving

    def __str__(self) -> str:
        parts = [f"{self.up} of {self.wanted} instances up"]
        parts += [f"{self.running - self.up} not healthy yet"] if self.running > self.up else []
        parts += [f"{self.surplus} to end"] if self.surplus else []
        parts += [f"{self.leaving} finishing their work"] if self.leaving else []
        return ", ".join(parts)


def judge(goal: Goal, app: App | None, deployments: Sequence[Mapping[str, Any]], was_listed: bool = False) -> Judgement:
    """Judge how far a change is.

    The deployments must have been asked for before the app. `was_listed` tells that the change's own was among them
    before: one that changes nothing never is.
    """
    if app is None:
        return Judgement("failed", "the app is gone: it was deleted meanwhile, or its deployment was reverted")
    under_way = next((each for each in deployments if goal.deployment and each.get("id") == goal.deployment), None)
    if under_way is not None:
        return Judgement("going", f"{_step(under_way)}{Tally.of(app)}")
    # Marathon may have found nothing to change, whatever the definition looks like to us.
    is_untouched = goal.before is not None and app.get("version") == goal.before.get("version")
    if not _is_ours(goal, app) and (was_listed or not is_untouched):
        return Judgement("failed", _taken_over(goal, app, deployments))
    tally, other = Tally.of(app), _other(app, deployments)
    scaled = f" (scaled to {tally.wanted} meanwhile)" if tally.wanted != goal.wanted.get("instances", 1) else ""
    if tally.is_complete and not other:
        return Judgement("done", f"{tally}{scaled}")
    if other or tally.leaving:
        return Judgement("going", f"{_step(other or {})}{tally}{scaled}")
    return Judgement("undone", f"the deployment is over, and {tally}{scaled}: was it cancelled, or did they end again?")


def _is_ours(goal: Goal, app: App) -> bool:
    """Return whether the app is as wanted: by its version, or (after a change that changed nothing) its definition."""
    changed = mapping(app.get("versionInfo")).get("lastConfigChangeAt")
    return goal.version in (app.get("version"), changed) or is_same(app, goal.wanted)


def _taken_over(goal: Goal, app: App, deployments: Sequence[Mapping[str, Any]]) -> str:
    if goal.before is not None and is_same(app, goal.before):
        return "the deployment was reverted meanwhile: the app is as it was before"
    other = _other(app, deployments)
    by = f"the deployment {other['id']}" if other else "another one"
    return f"the deployment was replaced meanwhile by {by}: the app is now of version {app.get('version')}"


def _other(app: App, deployments: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    return next((each for each in deployments if app.get("id") in (each.get("affectedApps") or [])), None)


def _step(deployment: Mapping[str, Any]) -> str:
    total = deployment.get("totalSteps") or len(deployment.get("steps") or [])
    return f"step {deployment.get('currentStep') or 1} of {total}, " if total else ""


def in_the_way(app: App, before: App | None) -> list[Task]:
    """Return the old tasks that Marathon leaves in the way of the new ones; `before` is the app as it was.

    None are where the definition wants some to be healthy: an old worker may be at work until a new one is.
    """
    if not _ends_before_it_starts(app):
        return []
    healthy = [task.get("id") for task in mappings((before or {}).get("tasks")) if is_healthy(before or {}, task)]
    old = [task for task in mappings(app.get("tasks")) if runs(task) and is_outdated(app, task)]
    return [task for task in old if task.get("id") not in healthy]


def waits_for_the_new(app: App) -> bool:
    """Return whether old instances that are not healthy stay until new ones are, and of those none runs."""
    if _ends_before_it_starts(app):
        return False
    running = [task for task in mappings(app.get("tasks")) if runs(task)]
    return bool(running) and all(is_outdated(app, task) and not is_healthy(app, task) for task in running)


def never_placed(app: App) -> bool:
    """Return whether nothing of it runs, and an instance that finds no agent keeps the place of any other."""
    return leaves_no_room(app) and bool(app.get("healthChecks")) and not mappings(app.get("tasks"))


def leaves_no_room(app: Mapping[str, Any]) -> bool:
    """Return whether no more instances may be there than are wanted."""
    wanted = int(app.get("instances") or 0)
    return floor(wanted * (1 + _strategy(app, "maximumOverCapacity"))) <= wanted


def _ends_before_it_starts(app: App) -> bool:
    return leaves_no_room(app) and _strategy(app, "minimumHealthCapacity") == 0


def _strategy(app: Mapping[str, Any], key: str) -> float:
    return float(mapping(app.get("upgradeStrategy")).get(key, 1))
