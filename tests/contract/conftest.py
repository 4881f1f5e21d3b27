"""Every engine, each under a project and in folders of its own; Marathon is a stand-in, its agent this machine.

Slurm is that of the tests, reached over SSH.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster import credentials, engine
from cluster.apps.app import AppSpec, HealthCheck, Volume
from cluster.schedulers import Scheduler, selection
from cluster.schedulers.process.scheduler import Process
from cluster.schedulers.selection import Choice
from cluster.settings import Settings
from tests.conftest import own_settings

IMAGE = "debian:trixie-slim"

ENGINES = {
    "local": pytest.param("local", marks=pytest.mark.engine),
    "process": pytest.param("process"),
    "marathon": pytest.param("marathon", marks=pytest.mark.engine),
    "slurm": pytest.param("slurm", marks=[pytest.mark.engine, pytest.mark.xdist_group("slurm")]),
}


def offered_by(*names: str) -> pytest.MarkDecorator:
    """A promise that not every engine makes: for the others it is not collected."""
    return pytest.mark.parametrize("make_scheduler", [ENGINES[name] for name in names], indirect=True)


@pytest.fixture
def said() -> list[str]:
    """What a person was told."""
    return []


@pytest.fixture(params=ENGINES.values())
def make_scheduler(
    request: pytest.FixtureRequest, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Scheduler]]:
    """Makes engines of one kind, each of another project; what they run is removed at the end."""
    made: list[Scheduler] = []
    monkeypatch.setattr(credentials, "SECRETS", tmp_path / "secrets")
    if request.param == "marathon":
        request.getfixturevalue("standin")  # before what is made, so that it ends after it
    kinds = {"local": local, "process": process, "marathon": marathon, "slurm": slurm}

    def make(project: str = "") -> Scheduler:
        settings = replace(own_settings(tmp_path), project=project or f"test-{secrets.token_hex(4)}")
        made.append(kinds[request.param](request, settings, said.append))
        return made[-1]

    yield make
    for scheduler in made:
        for app in scheduler.status():
            scheduler.stop(app.id, now=True)
        scheduler.delete_data("")


def local(request: pytest.FixtureRequest, settings: Settings, say: Callable[[str], None]) -> Scheduler:
    client = request.getfixturevalue("docker_client")
    from cluster.images import base_image
    from cluster.schedulers.docker.scheduler import Local

    base_image.ensure_base(client, print)
    return Local(settings, client, say, engine.socket_here())


def process(request: pytest.FixtureRequest, settings: Settings, say: Callable[[str], None]) -> Scheduler:
    return Process(settings, request.getfixturevalue("tmp_path") / "run", say)


def marathon(request: pytest.FixtureRequest, settings: Settings, say: Callable[[str], None]) -> Scheduler:
    from cluster.schedulers.marathon.api import Api
    from cluster.schedulers.marathon.scheduler import Marathon

    client, address = request.getfixturevalue("docker_client"), request.getfixturevalue("standin").address
    return Marathon(Api(address, 30, {}), settings, say, engines=lambda: nullcontext([client]))


def slurm(request: pytest.FixtureRequest, settings: Settings, say: Callable[[str], None]) -> Scheduler:
    cluster = request.getfixturevalue("slurm")
    return selection.connect(cluster.settings(settings), Choice("slurm", f"user1@{cluster.login.ip}"), say)


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
    monkeypatch.setattr("cluster.schedulers.SETTLED_S", 30)
    monkeypatch.setattr("cluster.schedulers.marathon.following.SETTLE_S", 30)  # and is slow to start the next


@pytest.fixture
def scheduler(make_scheduler: Callable[..., Scheduler]) -> Scheduler:
    return make_scheduler()


@pytest.fixture
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder that an app and its test both see, and may write to."""
    is_slurm = request.node.callspec.params["make_scheduler"] == "slurm"
    folder: Path = (
        request.getfixturevalue("slurm").shared if is_slurm else tmp_path
    ) / f"shared-{secrets.token_hex(4)}"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


@pytest.fixture
def make_app(shared: Path) -> Callable[..., AppSpec]:
    """Makes apps that see the shared folder, under its own path, as $SHARED."""

    def make(command: str, app_id: str = "/app", check: str = "", **fields: Any) -> AppSpec:
        env = {"SHARED": str(shared), **fields.pop("env", {})}
        volumes = (Volume(str(shared), str(shared)), *fields.pop("volumes", ()))
        app = AppSpec(
            app_id, command=command, image=IMAGE, env=env, volumes=volumes, cpus=0.1, mem_mib=64, kill_grace_s=30,
            container_options=(("init", "true"),), health=HealthCheck(check) if check else None,
        )  # fmt: skip
        return replace(app, **fields)

    return make
