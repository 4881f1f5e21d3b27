"""The threads of a world: one keeps the apps, one for each agent watches its engine, one runs each task."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Thread

import docker.errors
import requests

from tests.standin.agents import Agent
from tests.standin.executor import Executor
from tests.standin.keeper import Keeper
from tests.standin.state import Task
from tests.standin.watch import Watch, containers
from tests.standin.world import World

# How long an engine may take to answer when all is removed in the end.
_REMOVE_S = 10.0


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
                self.world.notes.append(f"{agent.hostname}: its containers could not be removed")


def _remove_all(agent: Agent) -> None:
    with ThreadPoolExecutor(8) as removing:
        remove = partial(agent.client.api.remove_container, force=True, v=True)
        list(removing.map(remove, [one["Id"] for one in containers(agent, _REMOVE_S)]))
