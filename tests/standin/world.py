"""What the stand-in knows: apps, their tasks, the launch queue. Tests script it, also while it serves."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import RLock
from typing import Any

# What Marathon adds to a definition (RAML types app.raml, appContainer.raml of 1.10).
DEFAULTS: dict[str, Any] = {
    "backoffFactor": 1.15,
    "backoffSeconds": 1,
    "cpus": 1,
    "disk": 0,
    "executor": "",
    "gpus": 0,
    "instances": 1,
    "killSelection": "YOUNGEST_FIRST",
    "labels": {},
    "maxLaunchDelaySeconds": 300,
    "mem": 128,
    "networks": [{"mode": "host"}],
    "requirePorts": False,
    "role": "*",
    "unreachableStrategy": {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0},
    "upgradeStrategy": {"maximumOverCapacity": 1, "minimumHealthCapacity": 1},
}


@dataclass
class Task:
    """One task; `results` are its health checks' results, in Marathon's form."""

    id: str
    app_id: str
    host: str | None
    version: str
    state: str
    ports: list[int]
    staged_at: str
    started_at: str | None
    ip: str | None = None
    results: list[dict[str, Any] | None] = field(default_factory=list)


@dataclass
class App:
    """An app: its definition with defaults, and when it was changed."""

    definition: dict[str, Any]
    version: str
    last_config_change: str
    last_scaling: str
    tasks: list[Task] = field(default_factory=list)
    last_failure: dict[str, Any] | None = None


class World:
    """All apps of a cluster."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.apps: dict[str, App] = {}
        self.queue: list[dict[str, Any]] = []
        self.leader = ""
        self._last_instant = datetime(2020, 1, 1, tzinfo=UTC)

    def now(self) -> str:
        """A new instant, a millisecond or more after the last one, as Marathon writes it."""
        with self.lock:
            self._last_instant = max(datetime.now(UTC), self._last_instant + timedelta(milliseconds=1))
            return timestamp(self._last_instant)

    def put_app(self, definition: dict[str, Any]) -> App:
        """Define an app, or change the definition of one, its tasks staying."""
        with self.lock:
            now, old = self.now(), self.apps.get(definition["id"])
            app = App(_with_defaults(definition), now, now, now, old.tasks if old else [])
            app.last_failure = old.last_failure if old else None
            self.apps[definition["id"]] = app
            return app

    def scale(self, app_id: str, instances: int) -> App:
        """A scaled app has a new version, and its config change stays."""
        with self.lock:
            app = self.apps[app_id]
            app.definition["instances"] = instances
            app.version = app.last_scaling = self.now()
            return app

    def delete_app(self, app_id: str) -> None:
        with self.lock:
            del self.apps[app_id]

    def add_task(
        self,
        app_id: str,
        *,
        host: str | None = "agent1",
        ports: tuple[int, ...] = (),
        state: str = "TASK_RUNNING",
        ip: str | None = None,
        alive: bool | None = None,
        version: str = "",
    ) -> Task:
        """A task of the app in this state; `alive` is the result of its one health check, None: none yet."""
        with self.lock:
            now, app = self.now(), self.apps[app_id]
            task = Task(_task_id(app_id), app_id, host, version or app.version, state, list(ports), now, None, ip)
            if state not in ("TASK_STAGING", "TASK_STARTING"):
                task.started_at = self.now()
            if alive is not None:
                task.results.append(self.health_result(task, alive))
            app.tasks.append(task)
            return task

    def health_result(self, task: Task, alive: bool, cause: str = "") -> dict[str, Any]:
        """One health check's result as Marathon writes it."""
        result = {"alive": alive, "consecutiveFailures": 0 if alive else 1, "instanceId": task.id.rpartition(".")[0]}
        seen = {"firstSuccess": self.now(), "lastSuccess": self.now()} if alive else {"lastFailure": self.now()}
        return result | seen | ({"lastFailureCause": cause} if cause else {})

    def fail(self, app_id: str, message: str, host: str = "agent1") -> None:
        """The app's last failure is now, of its present version."""
        with self.lock:
            app = self.apps[app_id]
            app.last_failure = {
                "appId": app_id,
                "host": host,
                "message": message,
                "state": "TASK_FAILED",
                "taskId": _task_id(app_id),
                "timestamp": self.now(),
                "version": app.version,
            }


def timestamp(instant: datetime) -> str:
    """UTC with milliseconds and Z (state/Timestamp.scala)."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{instant.microsecond // 1000:03d}Z"


def _task_id(app_id: str) -> str:
    return f"{app_id.strip('/').replace('/', '_')}.instance-{uuid.uuid4()}._app.1"


def _with_defaults(definition: dict[str, Any]) -> dict[str, Any]:
    app = DEFAULTS | definition
    if app["networks"][0]["mode"] == "host":
        app.setdefault("portDefinitions", [{"port": 10000, "name": "default", "protocol": "tcp", "labels": {}}])
    return app
