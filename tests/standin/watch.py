"""Watches the engine of one agent: which containers ended."""

from __future__ import annotations

import json
from typing import Any

import docker.errors
import requests

from tests.standin.agents import Agent
from tests.standin.executor import LABEL
from tests.standin.state import Task
from tests.standin.world import World

_TICK_S = 0.1
_TIMEOUT_S = 5.0
# What `docker run` exits with whose container someone removed.
_REMOVED = 137


class Watch:
    """One agent, looked at ten times a second."""

    def __init__(self, world: World, agent: Agent) -> None:
        self.world, self.agent = world, agent

    def run(self) -> None:
        """Until all is over; an engine that does not answer is asked again."""
        while not self.world.over.wait(_TICK_S):
            # From before the containers are listed: one that comes in between has not ended.
            mine = [task for task in self.world.tasks(self.agent) if task.container]
            try:
                self._hear(mine, {each["Id"]: each["State"] for each in containers(self.agent, _TIMEOUT_S)})
            except (requests.RequestException, docker.errors.DockerException, OSError) as error:
                self.world.notes.append(f"{self.agent.hostname}: {error}")

    def _hear(self, mine: list[Task], found: dict[str, str]) -> None:
        for task in mine:
            if found.get(task.container, "gone") in ("exited", "dead", "gone"):
                self.world.end(task, *ended(self._exit_code(task), task.killing))

    def _exit_code(self, task: Task) -> int:
        try:
            return int(self.agent.client.api.inspect_container(task.container)["State"]["ExitCode"])
        except docker.errors.NotFound:
            return _REMOVED


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
