"""How apps, tasks and the launch queue look in answers (core/appinfo, raml/*Conversion.scala)."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

from tests.standin.agents import summary
from tests.standin.state import App, Launching, Task, ip_addresses, slave_id
from tests.standin.world import World

_ACTIVE = ("TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING", "TASK_UNREACHABLE")


def app_json(world: World, app: App, embed: Collection[str] = ("tasks", "lastTaskFailure")) -> dict[str, Any]:
    """The definition and what is known at run time (AppInfoBaseData.scala); unset and empty things are left out."""
    states = [task.state for task in app.tasks]
    results = [[result for result in task.results if result] for task in app.tasks]
    app_id = app.definition["id"]
    answered: dict[str, Any] = app.definition | {
        "version": app.version,
        "versionInfo": {"lastScalingAt": app.last_scaling, "lastConfigChangeAt": app.last_config_change},
        "tasksStaged": states.count("TASK_STAGING"),
        "tasksRunning": states.count("TASK_RUNNING"),
        "tasksHealthy": sum(bool(each) and all(result["alive"] for result in each) for each in results),
        "tasksUnhealthy": sum(any(not result["alive"] for result in each) for each in results),
        "deployments": [{"id": plan.id} for plan in world.plans if app_id in plan.changes],
    }
    if "tasks" in embed:
        # The order means nothing in Marathon: a client that takes the first one is found out.
        answered["tasks"] = [task_json(task) for task in reversed(app.tasks)]
    if app.last_failure and "lastTaskFailure" in embed:
        answered["lastTaskFailure"] = app.last_failure
    return answered


def created_json(app: App, plan_id: str, definition: dict[str, Any]) -> dict[str, Any]:
    """POST's answer: the app before service ports were assigned, no tasks, no versionInfo."""
    counts = dict.fromkeys(("tasksStaged", "tasksRunning", "tasksHealthy", "tasksUnhealthy"), 0)
    return definition | {"version": app.version} | counts | {"deployments": [{"id": plan_id}]}


def task_json(task: Task) -> dict[str, Any]:
    """A task (TaskConversion.scala); one that is not active has no ports, times and version."""
    answered: dict[str, Any] = {
        "id": task.id,
        "appId": task.app_id,
        "host": task.host,
        "state": task.state,
        "ports": task.ports,
        "servicePorts": [],
        "ipAddresses": ip_addresses(task),
        "healthCheckResults": task.results,
        "slaveId": slave_id(task),
        "localVolumes": [],
        "role": "*",
    }
    if task.state in _ACTIVE:
        answered |= {"version": task.version, "stagedAt": task.staged_at}
        return answered | ({"startedAt": task.started_at} if task.started_at else {})
    return answered | {"ports": []}


def queue_json(world: World) -> list[dict[str, Any]]:
    """What tests wrote there, and what apps wait for (QueueInfoConversion.scala)."""
    waiting = [app for app in world.apps.values() if app.launching]
    return world.queue + [_queued(app, app.launching) for app in waiting if app.launching]


def _queued(app: App, launching: Launching) -> dict[str, Any]:
    left_s = app.backoff.left_s(time.monotonic())
    offered = {
        "processedOffersCount": launching.processed,
        "unusedOffersCount": launching.unused,
        "rejectSummaryLastOffers": summary(launching.reasons, len(launching.reasons)),
    }
    return {
        "app": launching.wanted,
        "count": launching.count + launching.waiting,
        "role": app.definition["role"],
        "delay": {"timeLeftSeconds": round(left_s), "overdue": left_s <= 0},
        "since": launching.since,
        "processedOffersSummary": offered,
    }
