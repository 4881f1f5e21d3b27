"""The real engine: found in every way, with its real words for what goes wrong."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from cluster import engine
from cluster.images import base_image
from scripts.errors import ClusterError
from tests.docker_contexts import add_context
from tests.ports import free_port
from tests.waiting import until

pytestmark = pytest.mark.engine

LISTEN = "$s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $ARGV[0], Listen => 1) or die; sleep 60"


def nothing_to_say(line: str) -> NoReturn:
    raise AssertionError(line)


@pytest.fixture
def run(docker_client: Any) -> Iterator[Callable[..., Any]]:
    """Starts containers, which end with the test."""
    base_image.ensure_base(docker_client, print)
    containers = []

    def start(command: list[str], **options: Any) -> Any:
        name = f"test-engine-{secrets.token_hex(4)}"
        containers.append(docker_client.containers.create(base_image.NAME, command, name=name, **options))
        containers[-1].start()
        return containers[-1]

    yield start
    for container in containers:
        container.remove(force=True)


@pytest.fixture
def port() -> int:
    return free_port()


def socket_of(client: Any) -> str:
    """The path of the engine's socket; only an engine of this machine has one."""
    url = os.environ.get("DOCKER_HOST") or f"unix://{engine.SOCKET}"
    path = url.removeprefix("unix://")
    if not client.ping() or not Path(path).is_socket():
        pytest.skip(f"the engine is not at a socket of this machine: {url}")
    return path


def answers(client: Any) -> bool:
    try:
        return bool(client.ping())
    finally:
        client.close()


def test_an_engine_that_answers_is_used_as_it_is(docker_client: Any) -> None:
    assert answers(engine.ensure(nothing_to_say))


def test_docker_host_is_used(docker_client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{socket_of(docker_client)}")
    monkeypatch.setattr(engine, "SOCKET", "/nonexistent.sock")
    assert answers(engine.connect())


def test_a_rootless_engine_is_found(docker_client: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "docker.sock").symlink_to(socket_of(docker_client))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(engine, "SOCKET", "/nonexistent.sock")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert answers(engine.connect())


def test_the_engine_of_the_context_is_used(docker_client: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    add_context(tmp_path, "near", f"unix://{socket_of(docker_client)}")
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(engine, "SOCKET", "/nonexistent.sock")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONTEXT", "near")
    assert answers(engine.connect())


def test_a_long_step_may_be_silent_for_longer_than_the_first_answer(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "PROBE_TIMEOUT_S", 1)
    client = engine.connect()
    container = client.containers.get(run(["sh", "-c", "sleep 2; echo done"]).id)
    container.logs(follow=True)  # until it ends
    assert container.logs() == b"done\n"
    client.close()


def test_a_port_that_a_container_publishes_is_its(run: Callable[..., Any], port: int) -> None:
    ports = {"80/tcp": ("127.0.0.1", port)}
    first = run(["sleep", "60"], ports=ports)
    with pytest.raises(ClusterError, match=f"{port} .*{first.name}"), engine.docker_errors("start amqp"):
        run(["sleep", "60"], ports=ports)


def test_a_port_that_a_program_has_is_its(run: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ClusterError, match=f"{port} .*{os.getpid()}"), engine.docker_errors("start amqp"):
            run(["sleep", "60"], ports={"80/tcp": ("127.0.0.1", port)})


def test_a_port_of_a_container_on_the_hosts_network_is_its(run: Callable[..., Any], port: int) -> None:
    container = run(["perl", "-MIO::Socket::INET", "-e", LISTEN, str(port)], network_mode="host")
    holder = until(lambda: engine.port_holder(port), "it listens")
    seen_by_root = f"the container {container.name}"
    assert holder == (seen_by_root if os.geteuid() == 0 else "a program of another user")


def test_a_missing_image_is_named(docker_client: Any) -> None:
    with pytest.raises(ClusterError, match=r"^start amqp: .*nosuch:v1"), engine.docker_errors("start amqp"):
        docker_client.containers.create("nosuch:v1")
