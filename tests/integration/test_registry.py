"""The registry of this machine, with a real engine, on a port and under a project of the tests' own."""

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import requests
from docker.errors import ContainerError

from cluster.components import REGISTRY
from cluster.image_ref import ImageRef
from cluster.images import build as image_build
from cluster.images import registry_api
from cluster.operations import images
from cluster.operations import registry as registries
from cluster.registry.plan import IMAGE, local_app
from cluster.schedulers import Scheduler
from cluster.schedulers.docker.scheduler import Local
from cluster.settings import Settings
from scripts.errors import ClusterError
from tests.conftest import own_settings

pytestmark = pytest.mark.engine


@dataclass(frozen=True)
class Place:
    """Where a registry of the tests' own may run."""

    settings: Settings
    scheduler: Scheduler
    client: Any
    said: list[str]

    def ensure_up(self) -> None:
        registries.ensure_up(self.settings, self.client, self.scheduler, self.said.append)

    @property
    def container(self) -> Any:
        return self.client.containers.get(f"{self.settings.project}-registry-1")


@pytest.fixture
def place(docker_client: Any, tmp_path: Path) -> Iterator[Place]:
    settings = own_settings(tmp_path)
    made = Place(settings, Local(settings, docker_client, print), docker_client, [])
    yield made
    made.scheduler.stop("/registry", now=True)
    made.scheduler.delete_data("/registry")


def test_it_is_made_from_nothing_and_once(place: Place) -> None:
    assert not registry_api.answers(place.settings.registry)
    place.ensure_up()
    assert registry_api.answers(place.settings.registry)
    first = place.container.id
    place.said.clear()
    place.ensure_up()
    assert place.container.id == first
    assert place.said == []


def test_one_that_an_earlier_version_made_is_replaced(place: Place) -> None:
    place.ensure_up()
    app = local_app(place.settings.registry)
    place.scheduler.apply(place.scheduler.plan(replace(app, labels={"component": "registry"})))
    first = place.container.id
    assert json.loads(registries.dry_run_here(place.settings, place.scheduler)) != {}
    place.ensure_up()
    assert place.container.id != first
    assert json.loads(registries.dry_run_here(place.settings, place.scheduler)) == {}


def test_it_is_a_plain_user_on_this_machine_alone(place: Place) -> None:
    place.ensure_up()
    (binding,) = place.container.attrs["HostConfig"]["PortBindings"]["5000/tcp"]
    assert binding["HostIp"] == "127.0.0.1"
    users = {process[0] for process in place.container.top(ps_args="-eo uid,pid,cmd")["Processes"]}
    assert users == {"901"}


def test_images_stay_when_it_is_stopped_and_can_be_deleted(place: Place) -> None:
    place.ensure_up()
    assert images.listed(place.settings, as_json=False) == f"the registry {place.settings.registry} is empty"
    image_build.build(place.client, REGISTRY, ref := ImageRef("kept", "v1", place.settings.registry), print)
    digest = image_build.push(place.client, ref, print)
    place.scheduler.stop("/registry")
    place.ensure_up()
    (found,) = json.loads(images.listed(place.settings, as_json=True))
    assert (found["name"], found["tag"], found["digest"]) == ("kept", "v1", digest)

    manifest = f"http://{place.settings.registry}/v2/kept/manifests/{digest}"
    assert requests.delete(manifest, timeout=10).status_code == requests.codes.accepted
    assert registry_api.stored(place.settings.registry) == []
    place.client.images.remove(str(ref))


def test_a_push_goes_on_after_the_registry_was_killed(place: Place) -> None:
    place.ensure_up()
    place.container.kill()
    place.ensure_up()
    assert registry_api.answers(place.settings.registry)


def test_a_port_that_something_else_has_is_told_with_its_holder_before_anything_is_built(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_api, "TIMEOUT_S", 0.5)
    port = int(place.settings.registry.partition(":")[2])
    with socket.create_server(("127.0.0.1", port)), pytest.raises(ClusterError, match=rf"port {port} .*\(process \d+"):
        place.ensure_up()
    assert place.said == []


def test_a_registry_elsewhere_is_left_alone(place: Place) -> None:
    elsewhere = replace(place.settings, registry="registry.example:5000")
    registries.ensure_up(elsewhere, place.client, place.scheduler, place.said.append)
    assert place.said == []


def test_the_health_check_tells_a_registry_that_works(place: Place) -> None:
    place.ensure_up()
    check = place.client.images.get(str(IMAGE)).attrs["Config"]["Healthcheck"]["Test"][1]
    assert place.container.exec_run(["/bin/sh", "-c", check]).exit_code == 0
    with pytest.raises(ContainerError):
        place.client.containers.run(str(IMAGE), ["-c", check], entrypoint="/bin/sh", remove=True)
