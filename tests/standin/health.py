"""Health checks of one task, COMMAND in its container; what else Marathon and Mesos can ask, nobody here has."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import docker.errors
from requests import Timeout

from tests.standin.state import Task
from tests.standin.world import World


@dataclass
class _Check:
    definition: dict[str, Any]
    due_s: float = float("inf")
    failures: int = 0
    succeeded: bool = False


class Probes:
    """The checks of a running task, and when each is due (times on the clock of time.monotonic())."""

    def __init__(self, world: World, task: Task) -> None:
        self.world, self.task = world, task
        self._checks = [_Check(check) for check in task.definition.get("healthChecks", [])]
        self._began_s = 0.0

    def begin(self) -> None:
        self._began_s = time.monotonic()
        for check in self._checks:
            check.due_s = self._began_s + self._scaled(check, "delaySeconds")

    def due_in_s(self) -> float:
        return min((check.due_s for check in self._checks), default=float("inf")) - time.monotonic()

    def probe(self) -> bool:
        """Run what is due; whether the task must be killed for it."""
        doomed = False
        for at, check in enumerate(self._checks):
            if check.due_s <= time.monotonic():
                works = self._run(check.definition)
                doomed = self._judge(at, check, works) or doomed
                check.due_s = time.monotonic() + max(0.05, self._scaled(check, "intervalSeconds"))
        return doomed

    def _scaled(self, check: _Check, key: str) -> float:
        return float(check.definition[key]) / self.world.time_scale

    def _judge(self, at: int, check: _Check, works: bool) -> bool:
        """Note a result; failures in the grace period do not count, and 0 failures in a row are one for Mesos."""
        in_grace = time.monotonic() - self._began_s < check.definition["gracePeriodSeconds"]
        ended = self.world.app_of(self.task) is None
        if ended or (not works and in_grace and not check.succeeded):
            return False
        check.succeeded = check.succeeded or works
        check.failures = 0 if works else check.failures + 1
        self._write(at, check, works)
        return check.failures >= (check.definition["maxConsecutiveFailures"] or 1)

    def _write(self, at: int, check: _Check, works: bool) -> None:
        """The result as the task shows it."""
        with self.world.changed:
            results = self.task.results
            results.extend([None] * (at + 1 - len(results)))
            before = results[at] or {}
            first = {"firstSuccess": before["firstSuccess"]} if "firstSuccess" in before else {}
            new = self.world.health_result(self.task, works)
            results[at] = before | new | {"consecutiveFailures": check.failures} | first
            self.world.changed.notify_all()

    def _run(self, check: dict[str, Any]) -> bool:
        """`docker exec` of the command; ends early when the task has other things to do."""
        api = self.task.agent.client.api  # type: ignore[union-attr]
        until_s = time.monotonic() + check["timeoutSeconds"]
        try:
            one = api.exec_create(self.task.container, ["sh", "-c", check["command"]["value"]])["Id"]
            self._exec(api, one, check["timeoutSeconds"])
            while time.monotonic() < until_s and not self.task.killing and not self.world.over.is_set():
                found = api.exec_inspect(one)
                if not found["Running"] and found["ExitCode"] is not None:
                    return not found["ExitCode"]
                time.sleep(0.02)
        except (docker.errors.APIError, Timeout):
            pass
        return False

    def _exec(self, api: Any, one: str, timeout_s: float) -> None:
        """Start it with a time limit: an engine may never answer when the container ends just then."""
        url = f"{api.base_url}/v{api.api_version}/exec/{one}/start"
        api.post(url, json={"Detach": True}, timeout=timeout_s)
