"""The threads of a world: one keeps the apps, one for each agent watches its engine, one runs each task."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Thread
from typing import Any

import docker.errors
import requests

from tests.standin.agents import Agent
from tests.standin.executor import LABEL, Executor
from tests.standin.keeper import Keeper
from tests.standin.state import Task
from tests.standin.world import World

# How long an engine may take to answer when all is removed in the end.
_REMOVE_S = 10.0
_TICK_S = 0.1
_TIMEOUT_S = 5.0
# What `docker run` exits with whose container someone removed.
_REMOVED = 137


class Cluster:
    """Marathon and Mesos at work on a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        runs = [Keeper(world, self._launch).run, *(Watch(world, agent).run for agent in world.agents)]
        self._threads = [Thread(target=run, daemon=True) for run in runs]
        self._executors: list[Thread] = []

    def _launch(self, task: Task) -> None:
        self._executors.append(Executor.launch(self.world, task))

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the threads and remove every container that was made here; a host that is away keeps its own."""
        with self.world.changed:
            self.world.over.set()
            for task in self.world.tasks():
                task.wake.set()
            self.world.changed.notify_all()
        for thread in self._threads:
            thread.join()
        deadline_s = time.monotonic() + _REMOVE_S
        for executor in self._executors:
            executor.join(max(0.0, deadline_s - time.monotonic()))
        for agent in self.world.agents:
            try:
                _remove_all(agent)
            except (requests.RequestException, docker.errors.DockerException):
                print(f"{agent.hostname}: its containers could not be removed")


def _remove_all(agent: Agent) -> None:
    with ThreadPoolExecutor(8) as removing:
        remove = partial(agent.client.api.remove_container, force=True, v=True)
        list(removing.map(remove, [one["Id"] for one in containers(agent, _REMOVE_S)]))


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
                print(f"{self.agent.hostname}: {error}")

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
