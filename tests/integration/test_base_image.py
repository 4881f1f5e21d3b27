"""The base image: kept when it is there, pulled, or made from Debian's packages, and never left half done."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest

from cluster.images import base_image
from scripts.errors import ClusterError
from tests.ports import free_port

pytestmark = pytest.mark.engine


def nothing_to_say(line: str) -> NoReturn:
    raise AssertionError(line)


@pytest.fixture
def name(docker_client: Any) -> Iterator[str]:
    """A name that no registry serves: its registry is a closed port of this machine."""
    name = f"localhost:{free_port()}/test-base-{secrets.token_hex(4)}:slim"
    yield name
    if docker_client.images.list(name):
        docker_client.images.remove(name)


def test_an_image_that_is_there_is_kept(docker_client: Any, name: str) -> None:
    base_image.ensure_base(docker_client, print)
    image = docker_client.images.get(base_image.NAME)
    image.tag(*name.rsplit(":", 1))
    base_image.ensure_base(docker_client, nothing_to_say, name)
    assert docker_client.images.get(name).id == image.id


def test_it_is_made_where_it_cannot_be_pulled(docker_client: Any, name: str) -> None:
    said: list[str] = []
    base_image.ensure_base(docker_client, said.append, name)
    assert said[0] == f"pulling {name}"
    assert said[1].startswith(f"{name} cannot be pulled (")
    assert "connection refused" in said[1]
    assert said[-1].startswith(f"making {name} from Debian's packages with mmdebstrap")

    image = docker_client.images.get(name)
    assert image.attrs["Config"]["Cmd"] == ["bash"]
    assert "made by mmdebstrap" in image.labels["org.opencontainers.image.description"]
    check = (
        "set -ex; . /etc/os-release; test $VERSION_CODENAME = trixie; test $(/usr/sbin/policy-rc.d || echo $?) = 101; "
        "test $(grep -c ' trixie-security ' /etc/apt/sources.list) = 1"
    )
    docker_client.containers.run(name, ["sh", "-c", check], remove=True)
    base_image.ensure_base(docker_client, nothing_to_say, name)


def test_it_waits_for_no_silent_registry_and_a_failure_leaves_no_image(
    docker_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_image, "PULL_SILENCE_S", 0.5)
    monkeypatch.setenv("DEBIAN_MIRROR", "http://127.0.0.1:1/debian")
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        name = f"localhost:{silent.getsockname()[1]}/test-base:slim"
        with pytest.raises(ClusterError) as caught:
            base_image.ensure_base(docker_client, said.append, name)
    assert said[1] == f"{name} cannot be pulled (no answer within 0.5 s)"
    assert "127.0.0.1:1" in str(caught.value)
    assert "set DEBIAN_MIRROR to a mirror that has trixie" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert docker_client.images.list(name) == []
