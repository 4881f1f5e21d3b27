"""Apps and their tasks as they are now."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from tests.standin.agents import Agent
from tests.standin.rolling import Roll, Seen


@dataclass(frozen=True)
class Backoff:
    """How long Marathon waits before it starts an app's next task (RateLimiter.scala).

    `until_s` is on the clock of time.monotonic().
    """

    delay_s: float = 0.0
    until_s: float = 0.0

    def increased(self, app: dict[str, Any], now_s: float, time_scale: float) -> Backoff:
        """After one more task that ended by itself."""
        grown = self.delay_s * app["backoffFactor"] if self.delay_s else app["backoffSeconds"] / time_scale
        delay_s = min(grown, app["maxLaunchDelaySeconds"] / time_scale)
        return Backoff(delay_s, now_s + delay_s)

    def left_s(self, now_s: float) -> float:
        return max(0.0, self.until_s - now_s)


@dataclass(eq=False)
class Task:
    """One task; `results` are its health checks' results, in Marathon's form.

    With an agent it is a container: `container` is its id, `wake` is set when something happened that its executor
    has to look at.
    """

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
    definition: dict[str, Any] = field(default_factory=dict)
    agent: Agent | None = None
    container: str = ""
    killing: bool = False
    wake: Event = field(default_factory=Event)

    def is_healthy(self) -> bool:
        """Running, and all of its health checks passed."""
        results = [result for result in self.results if result]
        checked = len(results) >= len(self.definition.get("healthChecks", []))
        return self.state == "TASK_RUNNING" and checked and all(result["alive"] for result in results)

    def seen(self) -> Seen:
        """What the rolling rule looks at."""
        return Seen(self.id, self.is_healthy() and not self.killing, self.killing, self.started_at or "~")


@dataclass
class Launching:
    """An entry of the launch queue: tasks that an app wants and has not got, of the definition `wanted`.

    `waiting` more are of the time before a replacement, which has not ended them; they get no offer here any more.
    """

    count: int
    since: str
    waiting: int = 0
    wanted: dict[str, Any] = field(default_factory=dict)
    processed: int = 0
    unused: int = 0
    reasons: list[str] = field(default_factory=list)


@dataclass(eq=False)
class App:
    """An app: its definition with defaults, and when it was changed; `scripted`: nobody starts and ends its tasks."""

    definition: dict[str, Any]
    version: str
    last_config_change: str
    last_scaling: str
    tasks: list[Task] = field(default_factory=list)
    last_failure: dict[str, Any] | None = None
    scripted: bool = True
    history: dict[str, dict[str, Any]] = field(default_factory=dict)
    roll: Roll | None = None
    launching: Launching | None = None
    backoff: Backoff = field(default_factory=Backoff)

    def has_one_more(self) -> None:
        """A task came without an offer: one fewer waits for one."""
        if self.launching:
            self.launching.count = max(0, self.launching.count - 1)
            self.launching = self.launching if self.launching.count + self.launching.waiting else None

    def is_new(self, task: Task) -> bool:
        """Whether the task has the app's present configuration."""
        return task.version >= self.last_config_change


def task_id(app_id: str) -> str:
    return f"{app_id.strip('/').replace('/', '_')}.instance-{uuid.uuid4()}._app.1"


def slave_id(task: Task) -> str:
    return task.agent.id if task.agent else "96d7da70-b731-4cfb-96a7-0ee877af615d-S0"


def ip_addresses(task: Task) -> list[dict[str, str]]:
    return [{"ipAddress": task.ip, "protocol": "IPv6" if ":" in task.ip else "IPv4"}] if task.ip else []
