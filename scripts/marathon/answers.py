"""Marathon's answers: values of any kind, and the tasks of an app, which run, are healthy and current.

Its fields mean what its own sources make of them (TaskForStatistics.scala, TaskConversion.scala). A value of another
kind than expected, or a missing one, counts as empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

Task = Mapping[str, Any]
App = Mapping[str, Any]

_MOST = 1e15


def mapping(value: Any) -> Mapping[str, Any]:
    """Return an object as it is; for anything else an empty one."""
    return value if isinstance(value, dict) else {}


def mappings(value: Any) -> list[Mapping[str, Any]]:
    """Return the objects of an array; for anything else none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def amount(value: Any) -> float:
    """Return a number of a sensible size as it is; for anything else 0."""
    return value if isinstance(value, int | float) and abs(value) < _MOST else 0


def runs(task: Task) -> bool:
    """Tell whether a task runs; only one that has started has a start."""
    return task.get("state") == "TASK_RUNNING" and bool(task.get("startedAt"))


def is_healthy(app: App, task: Task) -> bool:
    """Tell whether all checks of a task say that it is healthy.

    Without checks, running is all there is to know, and Marathon itself counts no task as healthy.
    """
    results = mappings(task.get("healthCheckResults"))
    return not app.get("healthChecks") or (bool(results) and all(result.get("alive") is True for result in results))


def is_outdated(app: App, task: Task) -> bool:
    """Tell whether a task was started before the app's last change; scaling is none."""
    return moment(task.get("version")) < moment(mapping(app.get("versionInfo")).get("lastConfigChangeAt"))


def fresh_failure(app: App) -> Mapping[str, Any]:
    """Return the last failure of a task since the app's last change, else an empty one: Marathon keeps old ones."""
    failure = mapping(app.get("lastTaskFailure"))
    changed = mapping(app.get("versionInfo")).get("lastConfigChangeAt") or app.get("version")
    of_this_version = failure.get("version") == app.get("version")
    return failure if of_this_version or moment(failure.get("timestamp")) >= moment(changed) else {}


def moment(text: Any) -> float:
    """Read a time of Marathon's, such as 2015-09-25T15:13:48.343Z, as seconds since 1970; 0 for what is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return 0.0
