"""Every scheduler, each under a project and in folders of its own; Marathon is a stand-in, its agent this machine."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from cluster.schedulers import App, Scheduler
from cluster.schedulers.process.scheduler import Process

IMAGE = "debian:trixie-slim"


KINDS = [
    pytest.param("local", marks=pytest.mark.engine),
    "process",
    pytest.param("marathon", marks=pytest.mark.engine),
]


@pytest.fixture(params=KINDS)
def make_scheduler(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Scheduler]]:
    """Makes schedulers of one kind, each of another project; what they run is removed at the end."""
    made: list[Scheduler] = []
    if request.param == "marathon":
        request.getfixturevalue("standin")  # before what is made, so that it ends after it

    def make(project: str = "") -> Scheduler:
        project = project or f"test-{secrets.token_hex(4)}"
        if request.param == "process":
            made.append(Process(project, tmp_path / "run"))
        else:
            made.append(local(request, project) if request.param == "local" else marathon(request, project))
        return made[-1]

    yield make
    for scheduler in made:
        for app in scheduler.status():
            scheduler.stop(app.id, now=True)
        scheduler.delete_data("")


def local(request: pytest.FixtureRequest, project: str) -> Scheduler:
    client = request.getfixturevalue("docker_client")
    from cluster.images import base_image
    from cluster.schedulers.docker.scheduler import Local

    base_image.ensure_base(client, print)
    return Local(client, project)


def marathon(request: pytest.FixtureRequest, project: str) -> Scheduler:
    from cluster.schedulers.marathon.api import Api
    from cluster.schedulers.marathon.scheduler import Marathon
    from cluster.schedulers.one_machine import to_stderr
    from scripts.marathon.api import Marathon as Asked

    client, address = request.getfixturevalue("docker_client"), request.getfixturevalue("standin").address
    return Marathon(Api(Asked(address, "", 30, {}), address), project, to_stderr, engines=lambda: nullcontext([client]))


@pytest.fixture
def standin(docker_client: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A stand-in for Marathon whose one agent is this machine, and whose times pass a hundred times as fast."""
    from cluster.images import base_image
    from cluster.schedulers.marathon import following
    from tests.standin.agents import Agent
    from tests.standin.server import Standin
    from tests.standin.world import World

    base_image.ensure_base(docker_client, print)
    monkeypatch.setattr(following, "POLL_S", 0.05)
    with Standin(World(agents=[Agent("127.0.0.1", docker_client)], time_scale=100)) as standin:
        yield standin


@pytest.fixture
def ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """An app without a health check counts as up only after a while: a busy engine tells late of what ended at once."""
    for module in ("docker.containers", "process.scheduler", "marathon.history"):
        monkeypatch.setattr(f"cluster.schedulers.{module}.SETTLED_S", 30)


@pytest.fixture
def scheduler(make_scheduler: Callable[[], Scheduler]) -> Scheduler:
    return make_scheduler()


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder that an app and its test both see."""
    folder = tmp_path / "shared"
    folder.mkdir()
    return folder


@pytest.fixture
def make_app(shared: Path) -> Callable[..., App]:
    """Makes apps that see the shared folder, under its own path, as $SHARED."""

    def make(cmd: str, app_id: str = "/app", check: str = "", **keys: Any) -> App:
        env = {"SHARED": str(shared), **keys.pop("env", {})}
        volumes = [{"containerPath": str(shared), "hostPath": str(shared), "mode": "RW"}, *keys.pop("volumes", [])]
        docker = {"image": IMAGE, "parameters": [{"key": "init", "value": "true"}]}
        definition = {
            "id": app_id,
            "cmd": cmd,
            "cpus": 0.1,
            "mem": 64,
            "env": env,
            "taskKillGracePeriodSeconds": 30,
            "container": {"type": "DOCKER", "docker": docker, "volumes": volumes},
            **keys,
        }
        if check:
            definition["healthChecks"] = [{"protocol": "COMMAND", "command": {"value": check}}]
        return App(app_id, definition)

    return make
