"""Building and pushing with a real engine and a real registry."""

import io
import json
import secrets
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from docker.errors import ImageNotFound

from cluster import engine
from cluster.components import Component
from cluster.image_ref import ImageRef
from cluster.images import build as image_build
from cluster.images import registry_api, sources
from cluster.operations import registry as registries
from cluster.schedulers.docker.scheduler import Local
from scripts.errors import ClusterError, ServiceAway
from tests.archives import packed
from tests.conftest import own_settings
from tests.ports import free_ports

pytestmark = pytest.mark.engine

Build = Callable[..., ImageRef]


@pytest.fixture(scope="module")
def own_registry(docker_client: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry of these tests' own, by its address."""
    settings = own_settings(tmp_path_factory.mktemp("registry"))
    scheduler = Local(settings, docker_client, print)
    registries.ensure_up(settings, docker_client, scheduler, print)
    yield settings.registry
    scheduler.stop("/registry", now=True)
    scheduler.delete_data("/registry")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def build(docker_client: Any, tmp_path: Path, said: list[str]) -> Iterator[Build]:
    """Builds an image of its own from the lines of a Dockerfile, under a name that no other test has."""
    component = Component("tried", "/tried", root=tmp_path)
    name = f"test-{secrets.token_hex(4)}"
    built: set[str] = set()

    def make(*lines: str, registry: str = "", client: Any = docker_client) -> ImageRef:
        component.folder.mkdir(parents=True, exist_ok=True)
        component.dockerfile.write_text("\n".join(["FROM debian:trixie-slim", *lines]))
        ref = ImageRef(name, "v1", registry)
        built.add(image_build.build(client, component, ref, said.append))
        return ref

    yield make
    for image_id in built:
        with suppress(ImageNotFound):  # the test removed it
            docker_client.images.remove(image_id, force=True)


@pytest.fixture
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path / "config.json"


def test_an_image_gets_its_name_and_labels(build: Build, docker_client: Any) -> None:
    ref = build('LABEL org.opencontainers.image.title="tried"')
    labels = docker_client.images.get(str(ref)).labels
    assert labels["org.opencontainers.image.title"] == "tried"
    assert labels["org.opencontainers.image.version"] == "v1"
    assert image_build.sources_of(docker_client, str(ref)) == labels[sources.LABEL]
    assert image_build.sources_of(docker_client, f"{ref}0") == ""


@pytest.fixture
def foreign(docker_client: Any, own_registry: str) -> Iterator[ImageRef]:
    """An empty image whose configuration says that it is for machines of another architecture than this one."""
    other = "amd64" if docker_client.version()["Arch"] == "arm64" else "arm64"
    ref = ImageRef(f"test-{secrets.token_hex(4)}", other, own_registry)
    docker_client.api.import_image_from_data(packed({}), repository=ref.repository, tag=ref.tag)
    saved = b"".join(docker_client.images.get(str(ref)).save(named=str(ref)))
    with tarfile.open(fileobj=io.BytesIO(saved)) as tar:
        files = {one.name: tar.extractfile(one).read() for one in tar if one.isfile()}  # type: ignore[union-attr]
    config = json.loads(files["manifest.json"])[0]["Config"]
    files[config] = json.dumps(json.loads(files[config]) | {"architecture": other}).encode()
    docker_client.images.remove(str(ref))
    docker_client.images.load(packed(files))
    yield ref
    with suppress(ImageNotFound):
        docker_client.images.remove(str(ref), force=True)


@pytest.mark.skipif(bool(image_build.emulators_here()), reason="this machine may emulate others")
def test_an_image_for_other_machines_is_refused_by_name_before_it_runs(foreign: ImageRef, docker_client: Any) -> None:
    with pytest.raises(ClusterError, match=rf"{foreign} .*{foreign.tag}, "):
        image_build.deployable(docker_client, foreign)
    image_build.push(docker_client, foreign, lambda line: None)
    with registry_api.RegistryClient(foreign.registry) as client:
        held = client.image(foreign.name, foreign.tag)
        assert held
        assert list(client.architectures(foreign.name, held.digest)) == [foreign.tag]
    docker_client.images.remove(str(foreign))
    with pytest.raises(ClusterError, match=rf"{foreign} .*{foreign.tag}, "):
        image_build.deployable(docker_client, foreign)


def test_what_is_cached_is_not_said(build: Build, said: list[str]) -> None:
    step = f"RUN true {secrets.token_hex(4)}"
    ref = build(step)
    assert len(said) == 1
    assert said[0].startswith(f"build {ref}: 2/")
    assert said[0].endswith(step)
    said.clear()
    build(step)
    assert said == []


def test_a_failed_step_says_which_and_what_it_printed(build: Build) -> None:
    with pytest.raises(ClusterError) as failure:
        build("RUN echo fine", "RUN echo first; echo second >&2; exit 7")
    first_line, *rest = str(failure.value).splitlines()
    assert "step 3/" in first_line
    assert "failed with exit code 7: RUN echo first; echo second >&2; exit 7" in first_line
    assert sorted(rest) == ["    first", "    second"]


def test_a_failed_build_leaves_no_container(build: Build, docker_client: Any) -> None:
    mark = secrets.token_hex(8)
    with pytest.raises(ClusterError):
        build(f"RUN false {mark}")
    commands = [str(one.attrs["Config"]["Cmd"]) for one in docker_client.containers.list(all=True, ignore_removed=True)]
    assert [command for command in commands if mark in command] == []


def test_a_dockerfile_that_is_none_is_one_line(build: Build) -> None:
    with pytest.raises(ClusterError, match="unknown instruction: INSTALL") as failure:
        build("INSTALL r-base-core")
    assert "\n" not in str(failure.value)


def test_a_full_disk_is_named(build: Build) -> None:
    with pytest.raises(ClusterError, match=r"the disk is full .*, /"):
        build("RUN head -c 1 /dev/zero >/dev/full")


def test_a_pushed_image_is_deployed_by_what_is_in_it(build: Build, docker_client: Any, own_registry: str) -> None:
    ref = build("LABEL number=one", registry=own_registry)
    assert image_build.deployable(docker_client, ref) == str(ref)
    digest = image_build.push(docker_client, ref, print)
    assert image_build.deployable(docker_client, ref) == f"{ref.repository}@{digest}"
    (stored,) = [image for image in registry_api.stored(own_registry) if image.name == ref.name]
    assert (stored.tag, stored.digest) == (ref.tag, digest)
    assert stored.bytes > 1_000_000

    # The same name for another image, which is not pushed yet: the digest of the first would be the wrong one.
    build("LABEL number=two", registry=own_registry)
    assert image_build.deployable(docker_client, ref) == str(ref)


def test_an_image_that_only_the_registry_has_is_deployable(build: Build, docker_client: Any, own_registry: str) -> None:
    ref = build("LABEL number=three", registry=own_registry)
    digest = image_build.push(docker_client, ref, print)
    docker_client.images.remove(str(ref))
    with pytest.raises(ImageNotFound):
        docker_client.images.get(str(ref))
    assert docker_client.images.list(str(ref)) == []
    assert image_build.deployable(docker_client, ref) == f"{ref.repository}@{digest}"
    assert len(registry_api.labels_of(ref)[sources.LABEL]) == 64
    docker_client.images.pull(ref.repository, tag=ref.tag)


def test_an_image_that_is_nowhere_says_how_to_build_it(docker_client: Any, own_registry: str) -> None:
    with pytest.raises(ClusterError, match=r"`./inv queue.build -t amqp:v9`"):
        image_build.deployable(docker_client, ImageRef("amqp", "v9", own_registry))


def test_broken_credential_helpers_of_other_registries_are_not_asked(
    build: Build, own_registry: str, docker_config: Path
) -> None:
    docker_config.write_text(json.dumps({"credsStore": "missing", "credHelpers": {"other.example": "missing"}}))
    with closing(engine.connect()) as client:
        ref = build("LABEL number=five", registry=own_registry, client=client)
        image_build.refuse_useless_registry(client, ref)
        digest = image_build.push(client, ref, print)
        client.images.remove(str(ref))
        assert image_build.deployable(client, ref) == f"{ref.repository}@{digest}"


def test_the_broken_credential_helper_of_the_registry_is_named(build: Build, docker_config: Path) -> None:
    docker_config.write_text(json.dumps({"credHelpers": {"registry.example": "missing"}}))
    with closing(engine.connect()) as client:
        ref = build("LABEL number=six", registry="registry.example", client=client)
        with pytest.raises(
            ClusterError, match=rf"^the credential helper docker-credential-missing of {docker_config},"
        ):
            image_build.push(client, ref, print)


def test_a_push_to_nobody_says_how_to_start_a_registry(build: Build, docker_client: Any) -> None:
    (port,) = free_ports(1)
    ref = build("LABEL number=four", registry=f"localhost:{port}")
    with pytest.raises(ServiceAway, match=f"localhost:{port}: "):
        image_build.push(docker_client, ref, print)


def test_an_image_that_is_not_there_is_not_pushed(docker_client: Any, own_registry: str) -> None:
    with pytest.raises(ClusterError, match="never:v1"):
        image_build.push(docker_client, ImageRef("never", "v1", own_registry), print)
