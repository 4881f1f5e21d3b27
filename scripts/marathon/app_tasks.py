"""What Marathon's answers say of an app's tasks: which run, are healthy and current, and what failed last.

Its fields mean what its own sources make of them (TaskForStatistics.scala, TaskConversion.scala); those of 0.8 to 1.10
are understood.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from scripts.marathon.app_ports import mapping, mappings

Task = Mapping[str, Any]
App = Mapping[str, Any]


def runs(task: Task) -> bool:
    """Whether a task runs. Answers of old Marathons have no state; only a task that has started has a start."""
    return task.get("state") in ("TASK_RUNNING", None) and bool(task.get("startedAt"))


def is_healthy(app: App, task: Task) -> bool:
    """Whether all checks of a task say so.

    Without checks, running is all there is to know, and Marathon itself counts no task as healthy.
    """
    results = mappings(task.get("healthCheckResults"))
    return not app.get("healthChecks") or (bool(results) and all(result.get("alive") is True for result in results))


def is_outdated(app: App, task: Task) -> bool:
    """Whether a task was started before the app's last change; scaling is none."""
    return moment(task.get("version")) < moment(mapping(app.get("versionInfo")).get("lastConfigChangeAt"))


def fresh_failure(app: App) -> Mapping[str, Any]:
    """The last failure of a task since the app's last change, else empty: Marathon keeps older ones for ever."""
    failure = mapping(app.get("lastTaskFailure"))
    changed = mapping(app.get("versionInfo")).get("lastConfigChangeAt") or app.get("version")
    of_this_version = failure.get("version") == app.get("version")
    return failure if of_this_version or moment(failure.get("timestamp")) >= moment(changed) else {}


def moment(text: Any) -> float:
    """A time of Marathon's, such as 2015-09-25T15:13:48.343Z, as seconds since 1970; 0 for what is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return 0.0
