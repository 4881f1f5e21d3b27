"""What the tests of the stand-in's containers share: agents on this machine's engine, an app that costs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cluster.images import base_image
from tests.standin.agents import Agent
from tests.standin.asking import Asking
from tests.standin.executor import LABEL
from tests.standin.server import Standin
from tests.standin.world import World

COMMAND = {"protocol": "COMMAND", "command": {"value": "true"}, "delaySeconds": 0, "intervalSeconds": 1}


@contextmanager
def two_agents(client: Any, files: dict[str, bytes]) -> Iterator[Asking]:
    """A world of two agents on one engine, in which a second is a twentieth of one; `files` are the hosts'."""
    base_image.ensure_base(client, print)
    agents = [
        Agent(f"127.0.0.{number}", client, 2, 1024, {"rack": f"r{number}"}, read_file=files.__getitem__)
        for number in (1, 2)
    ]
    with Standin(World(agents, time_scale=20)) as standin:
        yield Asking(standin)
    for agent in agents:
        assert client.containers.list(all=True, filters={"label": f"{LABEL}={agent.id}"}) == []


def sleeper(app_id: str, cmd: str = "exec sleep 600", **fields: Any) -> dict[str, Any]:
    """An app that needs next to nothing; init makes it end at the first signal."""
    image = {"image": base_image.NAME, "parameters": [{"key": "init", "value": "true"}]} | fields.pop("docker", {})
    container = {"type": "DOCKER", "docker": image} | fields.pop("container", {})
    return {
        "id": app_id,
        "cmd": cmd,
        "cpus": 0.1,
        "mem": 32,
        "taskKillGracePeriodSeconds": 1,
        "container": container,
    } | fields


def container_of(client: Any, task: dict[str, Any]) -> Any:
    """The container of a task, found as a person would find it."""
    return client.containers.list(all=True, filters={"label": f"MESOS_TASK_ID={task['id']}"})[0]
