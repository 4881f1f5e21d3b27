"""A Marathon without agents, whose tasks come and fail as a test says, and the scheduler that deploys to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Event, Thread
from typing import Any

from cluster.apps import definitions
from cluster.apps.app import AppSpec, AppStatus
from cluster.operations import operate
from cluster.operations.operate import Target, undone_on_failure
from cluster.schedulers import DeployOptions
from cluster.schedulers.marathon.api import Api
from cluster.schedulers.marathon.scheduler import Marathon
from scripts.errors import ClusterError
from tests.conftest import SETTINGS
from tests.standin import api
from tests.standin.answers import Request, Response
from tests.standin.server import Standin
from tests.standin.world import World

PROJECT = "test"
CHECKS = [{"protocol": "COMMAND", "command": {"value": "true"}}]
QUEUE_APP: dict[str, Any] = {
    "id": "/amqp",
    "networks": [{"mode": "container/bridge"}],
    "container": {
        "type": "DOCKER",
        "docker": {"image": "amqp:v1"},
        "portMappings": [
            {"containerPort": 5672, "hostPort": 0, "name": "amqp", "protocol": "tcp"},
            {"containerPort": 15672, "hostPort": 0, "name": "management", "protocol": "tcp"},
        ],
    },
}


class Rig:
    """Deploys to a stand-in; `said` is what a person was told."""

    def __init__(self, standin: Standin) -> None:
        self.standin, self.world = standin, standin.world
        self.said: list[str] = []
        self.settings = replace(SETTINGS, project=PROJECT)

    def marathon(self, *, project: str = PROJECT, addresses: str = "") -> Marathon:
        address = addresses or self.standin.address
        return Marathon(Api(address, 20, {}), replace(SETTINGS, project=project), self.said.append)

    def deploy(self, spec: AppSpec, timeout_s: float = 10, at: Marathon | None = None, **options: bool) -> AppStatus:
        """Deploy as a command does, with `undo` back to what ran before when it fails."""
        marathon, how = at or self.marathon(), DeployOptions(timeout_s=timeout_s, **options)
        change = marathon.plan(spec, how)
        if not how.undo:
            return marathon.apply(change, how)
        with undone_on_failure(marathon, spec.id, marathon.present(spec.id), self.said.append):
            return marathon.apply(change, how)

    def scale(self, instances: int, timeout_s: float = 10, **options: bool) -> AppStatus:
        return operate.scale(self._target(timeout_s, **options), instances, _nobody)

    def restart(self, timeout_s: float = 10) -> AppStatus:
        return operate.restart(self._target(timeout_s), _nobody)

    def rollback(self, to: str = "") -> AppStatus:
        return operate.rollback(self._target(10), to, _nobody)

    def _target(self, timeout_s: float, **options: bool) -> Target:
        return Target("/x", self.marathon(), DeployOptions(timeout_s=timeout_s, **options))

    def put(self, **changes: Any) -> None:
        """The app is there, as another deploy left it."""
        with instances_come(self.world):
            self.deploy(app(**changes))

    def sent(self, method: str) -> list[str]:
        """What Marathon was told, without what it was asked."""
        return [request.path for request in self.standin.requests if request.method == method]

    def begun(self, change: Callable[[], AppStatus]) -> Begun:
        """A change under way, in a thread, its deployment listed."""
        begun = Begun(change)
        while not self.world.plans and begun.thread.is_alive():
            begun.thread.join(0.01)
        return begun


class Begun:
    """A change that someone waits for."""

    def __init__(self, change: Callable[[], AppStatus]) -> None:
        self.status: AppStatus | None = None
        self.error = ""
        self.thread = Thread(target=self._run, args=[change], daemon=True)
        self.thread.start()

    def _run(self, change: Callable[[], AppStatus]) -> None:
        try:
            self.status = change()
        except ClusterError as error:
            self.error = str(error)

    def end(self) -> None:
        self.thread.join(60)
        assert not self.thread.is_alive()


def app(app_id: str = "/x", **changes: Any) -> AppSpec:
    """An app with a health check, so that nobody waits whether its instances stay."""
    usual = {"id": app_id, "cmd": "sleep 1", "cpus": 0.1, "mem": 64, "healthChecks": CHECKS}
    return definitions.read(usual | changes)


def _nobody(line: str) -> None:
    """Takes what a command says of its own."""


def anything(definition: dict[str, Any]) -> bool:
    """Every app finds an agent."""
    return True


@contextmanager
def instances_come(
    world: World, wanted: int = 1000, fits: Callable[[dict[str, Any]], bool] = anything
) -> Iterator[None]:  # fmt: skip
    """Meanwhile, what waits in the launch queue and fits comes and is healthy at once, `wanted` of an app at most."""
    over = Event()
    thread = Thread(target=_bring, args=(world, over, wanted, fits), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _bring(world: World, over: Event, wanted: int, fits: Callable[[dict[str, Any]], bool]) -> None:
    while not over.wait(0.01):
        with world.changed:
            for name, found in list(world.apps.items()):
                if found.launching is None or not fits(found.definition):
                    continue
                lacking = min(found.definition["instances"], wanted) - sum(map(found.is_new, found.tasks))
                for _ in range(min(lacking, found.launching.count)):
                    world.add_task(name, host="127.0.0.1", ports=[31000], alive=True)


def losing_answers(rig: Rig, method: str, *, times: int, obeys: bool) -> Callable[[Request], Response | None]:
    """A proxy that gives up waiting: so many times, Marathon having obeyed or not."""
    left = [times]

    def lose(request: Request) -> Response | None:
        if request.method != method or not left[0]:
            return None
        left[0] -= 1
        if obeys:
            api.answer(rig.world, request)
        return Response(504, b"<html><h1>504 Gateway Time-out</h1></html>", "text/html")

    return lose
