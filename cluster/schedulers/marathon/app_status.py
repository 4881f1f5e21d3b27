"""Apps of Marathon as people know them: tasks as instances, and those that are not there yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cluster.apps.app import AppStatus, Instance, State
from scripts.hostport import HostPort
from scripts.marathon.answers import App, Task, is_healthy, is_outdated, mapping, mappings, runs
from scripts.marathon.app_reasons import last_failure, reasons
from scripts.marathon.discovery import address, app_ports

_STARTING = ("TASK_STAGING", "TASK_STARTING", None)
_OVER = ("TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_ERROR", "TASK_GONE", "TASK_DROPPED", "TASK_LOST")
_WORDS = {
    "TASK_KILLING": "finishing its work",
    "TASK_UNREACHABLE": "its agent cannot be reached",
    "TASK_UNKNOWN": "its agent does not know it any more",
}


def status_of(app: App, queue: Sequence[Mapping[str, Any]]) -> AppStatus:
    """Return the app's instances, oldest first; what is wanted and not there is one more, whose detail says why."""
    there = [_instance(app, task) for task in oldest_first(app)]
    lacking = int(app.get("instances") or 0) - len(there)
    return AppStatus(str(app.get("id")), (*there, *([_lacking(app, lacking, queue)] if lacking > 0 else [])))


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
    return Instance(str(task.get("id")), state, "" if old else str(image), _addresses(app, task), words)


def _state(app: App, task: Task) -> tuple[State, str]:
    if not runs(task):
        state = task.get("state")
        return ("starting", "") if state in _STARTING else ("stopped", _WORDS.get(str(state), str(state)))
    if is_healthy(app, task):
        return "running", ""
    results = mappings(task.get("healthCheckResults"))
    cause = next((str(each["lastFailureCause"]) for each in results if each.get("lastFailureCause")), "")
    has_failed = any(each.get("alive") is False for each in results)
    return (
        ("unhealthy", f"not healthy{f': {cause}' if cause else ''}") if has_failed else ("starting", "not healthy yet")
    )


def _addresses(app: App, task: Task) -> dict[str, HostPort]:
    found = {port.name or str(index): address(task, port) for index, port in enumerate(app_ports(app))}
    return {name: where for name, where in found.items() if where}


def _lacking(app: App, count: int, queue: Sequence[Mapping[str, Any]]) -> Instance:
    words = "; ".join([f"{count} to be started", *reasons(app, queue, last_failure(app))])
    return Instance(str(app.get("id")), "starting", "", {}, words)
