"""Runs one task as a container, as Mesos's Docker executor does (src/docker/executor.cpp)."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from threading import Thread
from typing import Any

import docker.errors
import requests

from tests.standin.containers import SANDBOX, environment, run_options
from tests.standin.keeper import kill
from tests.standin.pulls import LaunchFailed, fetched, pull
from tests.standin.state import Task
from tests.standin.world import World

# Whose container it is: the agent's id, which is of one world.
LABEL = "cluster.standin"
# What Mesos grants when the app does not say (src/slave/constants.hpp).
_DEFAULT_GRACE_S = 5
# How long to wait at most before looking again; whatever happens wakes it earlier.
_LONG_S = 5.0
# How long to leave an engine alone that did not answer.
_RETRY_S = 0.5


class Executor:
    """One task's thread: launch, health checks, kill; that it ended is seen by the watch."""

    def __init__(self, world: World, task: Task) -> None:
        assert task.agent
        self.world, self.task, self.agent = world, task, task.agent
        self._probes = Probes(world, task)
        self._kill_at_s = 0.0
        self._stop_signal = "SIGTERM"

    @classmethod
    def launch(cls, world: World, task: Task) -> Thread:
        thread = Thread(target=cls(world, task).run, daemon=True)
        thread.start()
        return thread

    def run(self) -> None:
        try:
            self._start()
        except LaunchFailed as error:
            self.world.end(self.task, "TASK_FAILED", str(error))
            return
        except (requests.RequestException, docker.errors.DockerException) as error:
            self._note(error)
            self.world.end(self.task, "TASK_DROPPED", "Agent disconnected")
            return
        while self._goes_on():
            self._attend()
            self.task.wake.wait(self._pause_s())
            self.task.wake.clear()

    def _note(self, error: Exception) -> None:
        print(f"{self.task.id}: {error}")

    def _goes_on(self) -> bool:
        """Until the container has ended."""
        return not self.world.over.is_set() and self.task in self.world.tasks(self.agent)

    def _start(self) -> None:
        """From the image to a running container."""
        app = self.task.definition
        if "docker" not in app.get("container", {}):
            raise LaunchFailed("Failed to launch container: this stand-in has no containerizer but Docker's")
        files = fetched(self.agent, app)
        pull(self.agent, app, files)
        if self.task.killing or not self._goes_on():
            self.world.end(self.task, "TASK_KILLED", "Container destroyed while pulling image")
            return
        name = f"mesos-{uuid.uuid4()}"
        try:
            container = self._create(name)
            for item, content in files:
                if item["extract"]:
                    self.agent.client.api.put_archive(container, SANDBOX, content)
            self.agent.client.api.start(container)
        except (docker.errors.APIError, ValueError) as error:
            self._note(error)
            raise LaunchFailed("Container exited with status 125") from error
        self._tell_running(container)
        if not self._goes_on():
            self.agent.client.api.remove_container(container, force=True, v=True)

    def _create(self, name: str) -> str:
        task, app, api = self.task, self.task.definition, self.agent.client.api
        env = environment(app, task.version, task.id, self.agent.hostname, task.ports, name)
        run = run_options(app, task.id, task.ports, env, self.agent.publish_on)
        run.own["labels"] = run.own["labels"] | {LABEL: self.agent.id}
        made: dict[str, Any] = api.create_container(
            **run.own, host_config=api.create_host_config(**run.host), name=name
        )
        return str(made["Id"])

    def _tell_running(self, container: str) -> None:
        """TASK_RUNNING comes with what inspect says, and before any end."""
        found = self.agent.client.api.inspect_container(container)
        with self.world.changed:
            self.task.container = container
            self.world.update(self.task, "TASK_RUNNING")
        self._stop_signal = found["Config"].get("StopSignal") or "SIGTERM"
        self._probes.begin()

    def _attend(self) -> None:
        """What is due now, a signal or a health check."""
        try:
            if self.task.killing:
                self._end_container()
            elif self._probes.due_in_s() <= 0 and self._probes.probe():
                kill(self.world, self.task)
                self._end_container()
        except requests.RequestException as error:
            self._note(error)
            self.world.over.wait(_RETRY_S)

    def _end_container(self) -> None:
        """The image's stop signal first, and when its time is over the one that nobody can refuse."""
        now_s = time.monotonic()
        if not self._kill_at_s:
            grace_s = self.task.definition.get("taskKillGracePeriodSeconds", _DEFAULT_GRACE_S)
            self._kill_at_s = now_s + grace_s
            self._signal(self._stop_signal)
        elif now_s >= self._kill_at_s:
            self._signal("SIGKILL")

    def _signal(self, signal: str) -> None:
        try:
            self.agent.client.api.kill(self.task.container, signal)
        except docker.errors.APIError as error:
            # It ended by itself meanwhile.
            self._note(error)

    def _pause_s(self) -> float:
        if self._kill_at_s:
            return min(_LONG_S, max(0.05, self._kill_at_s - time.monotonic()))
        return min(_LONG_S, max(0.01, self._probes.due_in_s()))


@dataclass
class _Check:
    """A health check, COMMAND in the container; what else Marathon and Mesos can ask, nobody here has."""

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
        except (docker.errors.APIError, requests.Timeout):
            pass
        return False

    def _exec(self, api: Any, one: str, timeout_s: float) -> None:
        """Start it with a time limit: an engine may never answer when the container ends just then."""
        url = f"{api.base_url}/v{api.api_version}/exec/{one}/start"
        api.post(url, json={"Detach": True}, timeout=timeout_s)
