"""What the stand-in knows: apps, tasks, deployments, agents. Tests may script it, also while it serves."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from threading import Condition, Event, RLock
from typing import Any

from tests.standin.agents import Agent
from tests.standin.canonical import canonical, with_service_ports
from tests.standin.plans import Plan
from tests.standin.state import App, Task, task_id

# TaskFailure.scala; NotifyRateLimiterStepImpl.scala.
_FAILURES = ("TASK_FAILED", "TASK_ERROR", "TASK_LOST", "TASK_DROPPED", "TASK_GONE", "TASK_UNKNOWN")
_SLOWED_BY = ("TASK_FAILED", "TASK_FINISHED", "TASK_ERROR", "TASK_DROPPED", "TASK_GONE")


class World:
    """All of a cluster.

    `time_scale` divides the waits of back-offs and between health checks, but no grace period: programs start and stop
    no faster for it. `updates` are all states of tasks that were told: task, state and message.
    """

    def __init__(self, agents: Sequence[Agent] = (), *, time_scale: float = 1.0) -> None:
        self.id = str(uuid.uuid4())
        self.agents = list(agents)
        for number, agent in enumerate(self.agents):
            agent.id = f"{self.id}-S{number}"
        self.time_scale = time_scale
        self.lock = RLock()
        self.changed = Condition(self.lock)
        self.over = Event()
        self.apps: dict[str, App] = {}
        self.leaving: list[App] = []
        self.plans: list[Plan] = []
        self.queue: list[dict[str, Any]] = []
        self.leader = ""
        self.updates: list[tuple[str, str, str]] = []
        self._last_instant = datetime(2020, 1, 1, tzinfo=UTC)

    def now(self) -> str:
        """A new instant, a millisecond or more after the last one, as Marathon writes it."""
        with self.lock:
            self._last_instant = max(datetime.now(UTC), self._last_instant + timedelta(milliseconds=1))
            return timestamp(self._last_instant)

    def tasks(self, agent: Agent | None = None) -> Iterable[Task]:
        """All tasks, also those of apps that were deleted; of one agent if so asked."""
        with self.lock:
            apps = [*self.apps.values(), *self.leaving]
            return [task for app in apps for task in app.tasks if agent is None or task.agent is agent]

    def put_app(self, definition: dict[str, Any]) -> App:
        """Define an app, or change the definition of one, its tasks staying."""
        with self.lock:
            now, old = self.now(), self.apps.get(definition["id"])
            app = App(self.filled(definition), now, now, now, old.tasks if old else [])
            app.last_failure = old.last_failure if old else None
            app.history = (old.history if old else {}) | {now: app.definition}
            self.apps[definition["id"]] = app
            return app

    def filled(self, definition: dict[str, Any]) -> dict[str, Any]:
        """In canonical form, with defaults and service ports, those of the present definition staying."""
        app = canonical(definition)
        present = self.apps.get(app["id"])
        others = [other.definition for name, other in self.apps.items() if name != app["id"]]
        return with_service_ports(app, present.definition if present else None, others)

    def add_task(
        self,
        app_id: str,
        *,
        host: str | None = "agent1",
        ports: Sequence[int] = (),
        state: str = "TASK_RUNNING",
        ip: str | None = None,
        alive: bool | None = None,
    ) -> Task:
        """A task of the app in this state; `alive` is the result of its one health check, None: none yet."""
        with self.changed:
            now, app = self.now(), self.apps[app_id]
            task = Task(task_id(app_id), app_id, host, app.version, state, list(ports), now, None, ip)
            task.definition = app.definition
            if state not in ("TASK_STAGING", "TASK_STARTING"):
                task.started_at = self.now()
            if alive is not None:
                task.results.append(self.health_result(task, alive))
            app.tasks.append(task)
            app.has_one_more()
            self.changed.notify_all()
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
            app.last_failure = self.failure(app_id, task_id(app_id), host, app.version, "TASK_FAILED", message)

    def failure(self, app_id: str, task: str, host: str, version: str, state: str, message: str) -> dict[str, Any]:
        return {
            "appId": app_id,
            "host": host,
            "message": message,
            "state": state,
            "taskId": task,
            "timestamp": self.now(),
            "version": version,
        }

    def update(self, task: Task, state: str, message: str = "") -> None:
        """A task's new state, as Mesos tells it."""
        with self.changed:
            task.state = state
            if state == "TASK_RUNNING":
                task.started_at = task.started_at or self.now()
            self.updates.append((task.id, state, message))
            self.changed.notify_all()

    def app_of(self, task: Task) -> App | None:
        """The app that has the task, or had it before it was deleted."""
        with self.lock:
            return next((app for app in [*self.apps.values(), *self.leaving] if task in app.tasks), None)

    def end(self, task: Task, state: str, message: str = "") -> None:
        """The task is no more; what its end means for its app."""
        with self.changed:
            app = self.app_of(task)
            if app is None:
                return
            self.update(task, state, message)
            app.tasks.remove(task)
            task.wake.set()
            if state in _FAILURES:
                failed = (task.id, task.host or "", task.version, state, message)
                app.last_failure = self.failure(task.app_id, *failed)
            if state in _SLOWED_BY and app.is_new(task):
                app.backoff = app.backoff.increased(app.definition, time.monotonic(), self.time_scale)


def timestamp(instant: datetime) -> str:
    """UTC with milliseconds and Z (state/Timestamp.scala)."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{instant.microsecond // 1000:03d}Z"
