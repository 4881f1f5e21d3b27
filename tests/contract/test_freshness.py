"""Workers on every engine beside the files of the folder: are the actions that they run older?"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from cluster.components import WORKER
from cluster.images import registry_api, sources
from cluster.operations import freshness
from cluster.operations.freshness import older_apps
from cluster.schedulers import Scheduler
from tests.conftest import own_settings
from tests.contract.conftest import IMAGE, offered_by
from tests.deploying import deploy
from tests.ports import free_port
from tests.waiting import until

# An app that a worker's command line makes one of workers; of the worker itself nothing is run.
WORKS = ": cluster_worker -q q {} -- cat; exec sleep 1000"

MakeImage = Callable[[str], str]


def older(scheduler: Scheduler) -> list[bool | None]:
    return older_apps([(scheduler, app) for app in scheduler.status()])


@pytest.fixture
def registry(docker_client: Any, tmp_path: Path) -> Iterator[str]:
    """A registry of this test's own, by its address."""
    from cluster.operations import registry as registries
    from cluster.schedulers.docker.scheduler import Local

    settings = own_settings(tmp_path)
    engine = Local(settings, docker_client, print)
    registries.ensure_up(settings, docker_client, engine, print)
    yield settings.registry
    engine.stop("/registry", now=True)
    engine.delete_data("/registry")


@pytest.fixture
def make_image(docker_client: Any, scheduler: Scheduler) -> Iterator[MakeImage]:
    """Makes an image built from files with this digest, always under one name."""
    name, made = f"test-{secrets.token_hex(4)}:v1", []

    def make(digest: str, place: str = "") -> str:
        dockerfile = BytesIO(f"FROM {IMAGE}".encode())
        labels = {"made for": name} | ({sources.LABEL: digest} if digest else {})
        made.append(docker_client.images.build(fileobj=dockerfile, tag=f"{place}{name}", labels=labels, rm=True)[0].id)
        return f"{place}{name}"

    yield make
    for app in scheduler.status():
        scheduler.stop(app.id, now=True)
    for image in {*made}:
        docker_client.images.remove(image, force=True)


@offered_by("local")
def test_an_image_tells_by_what_runs_and_not_by_what_its_name_means_now(
    scheduler: Scheduler, make_app: Any, make_image: MakeImage
) -> None:
    now = sources.digest(WORKER)
    for digest, later, is_older in ((now, "0" * 64, False), ("0" * 64, now, True), ("", now, None)):
        deploy(scheduler, make_app(WORKS, image=make_image(digest)))
        make_image(later)
        assert older(scheduler) == [is_older]


@offered_by("marathon")
def test_a_registry_tells_once_of_what_files_an_image_is(
    scheduler: Scheduler, make_app: Any, make_image: MakeImage, registry: str, docker_client: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    asked: list[str] = []
    labels_of = registry_api.labels_of
    monkeypatch.setattr(registry_api, "labels_of", lambda ref, *more: asked.append(str(ref)) or labels_of(ref, *more))
    now = sources.digest(WORKER)
    for number, (digest, is_older) in enumerate(((now, False), ("0" * 64, True), ("", None)), start=1):
        name = make_image(digest, f"{registry}/")
        docker_client.images.push(name)
        by_content = docker_client.images.get(name).attrs["RepoDigests"][0]
        apps = [make_app(WORKS, app_id, image=by_content, instances=2) for app_id in ("/one", "/two")]
        for app in apps:
            deploy(scheduler, app)
        assert older(scheduler) == [is_older, is_older]
        assert older(scheduler) == [is_older, is_older]
        assert len(asked) == number


@offered_by("marathon")
def test_of_a_registry_that_is_away_nothing_is_known(
    scheduler: Scheduler, make_app: Any, make_image: MakeImage, docker_client: Any
) -> None:
    deploy(scheduler, make_app(WORKS))
    assert older(scheduler) == [None]  # a tag may mean another image by now
    (found,) = scheduler.status()
    away = f"127.0.0.1:{free_port()}/worker@sha256:{'0' * 64}"
    instances = tuple(replace(one, image=away) for one in found.instances)
    assert older_apps([(scheduler, replace(found, instances=instances))]) == [None]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the worker's files, in place of the present one."""
    component = replace(WORKER, root=tmp_path / "root")
    for place in ("scripts", "components/worker/scripts"):
        (component.root / place).mkdir(parents=True)
        (component.root / place / "file").touch()
    monkeypatch.setattr(freshness, "WORKER", component)
    return component.root


@offered_by("process")
@pytest.mark.parametrize(
    ("place", "options", "is_older"),
    [
        ("scripts", "", True),
        ("components/worker/scripts", "", False),  # which is read when the action is run
        ("components/worker/scripts", "--keep-alive", True),
        ("components/worker", "--keep-alive", False),
    ],
)
def test_plain_processes_have_loaded_a_file_that_was_changed_since(
    scheduler: Scheduler, make_app: Any, folder: Path, place: str, options: str, is_older: bool
) -> None:
    time.sleep(1.1)  # the start of a process is known to a second
    started = deploy(scheduler, make_app(WORKS.format(options))).instances[0].started_at or 0
    assert older(scheduler) == [False]

    def changed() -> bool:
        (folder / place / "file").write_text("changed")
        return (folder / place / "file").stat().st_ctime > started

    until(changed)
    assert older(scheduler) == [is_older]


def test_nothing_is_older_where_no_worker_runs(scheduler: Scheduler, make_app: Any) -> None:
    assert older(scheduler) == []
    deploy(scheduler, make_app("exec sleep 1000"))
    assert older(scheduler) == [None]
