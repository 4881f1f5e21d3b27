"""Watches the engine of one agent: which containers ended, and whether the host is there at all."""

from __future__ import annotations

import json
import time
from typing import Any

import docker.errors
import requests

from tests.standin.agents import Agent
from tests.standin.executor import LABEL
from tests.standin.state import Task
from tests.standin.world import World

_TICK_S = 0.1
# A container that someone removed.
_REMOVED = {"State": {"ExitCode": 137}}


class Watch:
    """One agent, looked at ten times a second."""

    def __init__(self, world: World, agent: Agent) -> None:
        self.world, self.agent = world, agent
        self._heard_s = time.monotonic()

    def run(self) -> None:
        """Until all is over."""
        while not self.world.over.wait(_TICK_S):
            with self.world.lock:
                mine = [task for task in self.world.tasks(self.agent) if task.container]
            try:
                found = containers(self.agent, self.world.agent_timeout_s)
                self._hear(mine, {each["Id"]: each["State"] for each in found})
            except (requests.RequestException, docker.errors.DockerException, OSError):
                if time.monotonic() - self._heard_s > self.world.agent_timeout_s:
                    self._lose()
                continue
            self._heard_s = time.monotonic()

    def _hear(self, mine: list[Task], found: dict[str, str]) -> None:
        """What ended is ended here, too; what nobody knows any more is removed.

        `mine` is from before the containers were listed: one that came in between has not ended.
        """
        with self.world.changed:
            came_back, self.agent.alive = not self.agent.alive, True
            known = {task.container for task in self.world.tasks(self.agent)}
        for task in mine:
            state = found.get(task.container, "gone")
            if state in ("exited", "dead", "gone"):
                self._end(task, state != "gone")
            elif came_back and task.state == "TASK_UNREACHABLE":
                self.world.update(task, "TASK_RUNNING", "Agent came back")
        if came_back:
            self._remove([each for each, state in found.items() if each not in known and state == "running"])

    def _end(self, task: Task, is_there: bool) -> None:
        if task.state == "TASK_UNREACHABLE":
            self.world.end(task, "TASK_GONE", "Agent came back without the task")
            return
        try:
            found = self.agent.client.api.inspect_container(task.container) if is_there else _REMOVED
        except docker.errors.NotFound:
            found = _REMOVED
        self.world.end(task, *ended(found["State"]["ExitCode"], task.killing))

    def _lose(self) -> None:
        with self.world.changed:
            if not self.agent.alive:
                return
            self.agent.alive = False
            for task in list(self.world.tasks(self.agent)):
                task.lost_at_s = time.monotonic()
                self.world.update(task, "TASK_UNREACHABLE", "Agent is unreachable")
                if task.killing:
                    self.world.forget(task)

    def _remove(self, names: list[str]) -> None:
        for name in names:
            self.agent.client.api.remove_container(name, force=True, v=True)


def containers(agent: Agent, timeout_s: float) -> list[dict[str, Any]]:
    """All containers that were made for the agent, also those that ended."""
    api = agent.client.api
    params = {"all": "1", "filters": json.dumps({"label": [f"{LABEL}={agent.id}"]})}
    answer = api.get(f"{api.base_url}/v{api.api_version}/containers/json", params=params, timeout=timeout_s)
    answer.raise_for_status()
    return list(answer.json())


def ended(exit_code: int, killed: bool) -> tuple[str, str]:
    """State and message of a container that ended; who ends with 0 has finished, also when it was killed."""
    state = "TASK_FINISHED" if exit_code == 0 else "TASK_KILLED" if killed else "TASK_FAILED"
    return state, f"Container exited with status {exit_code}"
