"""Asks the stand-in as any HTTP client would, for its own tests: with agents on this machine's engine, or without."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests

from cluster.images import base_image
from tests.standin.agents import Agent
from tests.standin.executor import LABEL
from tests.standin.server import Standin
from tests.standin.world import World
from tests.waiting import until

COMMAND = {"protocol": "COMMAND", "command": {"value": "true"}, "delaySeconds": 0, "intervalSeconds": 1}


@dataclass(frozen=True)
class Asking:
    """A client of one stand-in; bodies are JSON unless they are bytes, further arguments the URL's parameters."""

    standin: Standin

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> requests.Response:
        sent = {"data": body} if isinstance(body, bytes) else {"json": body}
        parameters = {key: str(value).lower() for key, value in query.items()}
        headers, url = {"Accept": "application/json"}, self.standin.url + path
        return requests.request(method, url, params=parameters, headers=headers, timeout=60, **sent)

    def get(self, path: str) -> Any:
        """The answer's JSON."""
        return self.ask("GET", path).json()

    def app(self, app_id: str) -> dict[str, Any]:
        return dict(self.get(f"/v2/apps{app_id}")["app"])

    def put(self, app_id: str, body: Any, **query: Any) -> str:
        """Update an app; the deployment's id."""
        return str(self._deployed(self.ask("PUT", f"/v2/apps{app_id}", body, **query)))

    def post(self, body: Any) -> str:
        """Create an app; the deployment's id."""
        answer = self.ask("POST", "/v2/apps", body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["deployments"][0]["id"])

    def delete(self, app_id: str, **query: Any) -> str:
        """Delete an app; the deployment's id."""
        return str(self._deployed(self.ask("DELETE", f"/v2/apps{app_id}", **query)))

    def deploy(self, app: dict[str, Any]) -> dict[str, Any]:
        """Create an app; what it is when all of it runs."""
        self.wait(self.post(app))
        return self.app(app["id"])

    def delete_all(self) -> None:
        """Delete every app, and wait until nothing of them runs."""
        for deployment in [self.delete(app["id"]) for app in self.get("/v2/apps")["apps"]]:
            self.wait(deployment)

    def running(self, app_id: str) -> list[str]:
        """The ids of the tasks that run."""
        return [task["id"] for task in self.app(app_id)["tasks"] if task["state"] == "TASK_RUNNING"]

    def _deployed(self, answer: requests.Response) -> str:
        assert answer.status_code in (200, 201), answer.text
        return str(answer.json()["deploymentId"])

    def is_done(self, deployment: str) -> bool:
        return deployment not in [plan["id"] for plan in self.get("/v2/deployments")]

    def wait(self, deployment: str, timeout_s: float = 60) -> None:
        """Until the deployment is no more listed."""
        until(lambda: self.is_done(deployment), f"the deployment {deployment} ends", timeout_s)


@contextmanager
def two_agents(client: Any, files: dict[str, bytes]) -> Iterator[Asking]:
    """A world of two agents on one engine, in which a second is a twentieth of one; `files` are the hosts'."""
    base_image.ensure_base(client, print)
    agents = [Agent(f"127.0.0.{number}", client, 2, 1024, files.__getitem__) for number in (1, 2)]
    with Standin(World(agents, time_scale=20)) as standin:
        yield Asking(standin)
    for agent in agents:
        assert client.containers.list(all=True, filters={"label": f"{LABEL}={agent.id}"}) == []


def sleeper(app_id: str, cmd: str = "exec sleep 600", **fields: Any) -> dict[str, Any]:
    """An app that needs next to nothing; init makes it end at the first signal."""
    image = {"image": base_image.NAME, "parameters": [{"key": "init", "value": "true"}]} | fields.pop("docker", {})
    container = {"type": "DOCKER", "docker": image} | fields.pop("container", {})
    small = {"id": app_id, "cmd": cmd, "cpus": 0.1, "mem": 32, "taskKillGracePeriodSeconds": 1}
    return small | {"container": container} | fields


def container_of(client: Any, task: dict[str, Any]) -> Any:
    """The container of a task, found as a person would find it."""
    return client.containers.list(all=True, filters={"label": f"MESOS_TASK_ID={task['id']}"})[0]
