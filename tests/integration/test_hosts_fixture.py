"""The hosts of the tests are hosts: ssh lets in, engines run, and all comes back after a restart."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from docker.errors import NotFound

from tests.hosts.cluster import Hosts
from tests.hosts.leftovers import IMAGE, LABEL, remove_leftovers

pytestmark = pytest.mark.engine


def ssh(config: Path, host: str, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["ssh", "-F", str(config), "-o", "BatchMode=yes", host, command],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip


@pytest.mark.program("ssh")
def test_ssh_lets_root_and_ops_in(hosts: Hosts) -> None:
    agent = hosts.agent
    assert ssh(hosts.ssh_config, agent.name, "id -un").stdout == "root\n"
    assert ssh(hosts.ssh_config, f"ops@{agent.ip}", "sudo -n id -un; docker info -f ok").stdout == "root\nok\n"


@pytest.mark.program("ssh")
def test_a_host_is_reached_through_the_jump_host(hosts: Hosts) -> None:
    assert hosts.jump.name == "jump"
    assert ssh(hosts.ssh_config, "inner-1", "hostname -i").stdout.split() == [hosts.agent.ip]


def test_a_host_comes_back_with_its_address_and_its_engine(hosts: Hosts) -> None:
    agent = hosts.agent
    agent.restart()
    assert agent.run("hostname -i").split() == [agent.ip]
    assert "Server" in agent.run("docker version")


def test_hosts_know_one_another_and_nothing_else(hosts: Hosts) -> None:
    first, second, _ = hosts.agents
    assert first.run(f"getent hosts {second.name}").split()[0] == second.ip
    assert first.run("getent hosts nowhere.example || echo unknown") == "unknown\n"


def test_hosts_of_a_run_that_was_killed_are_removed(docker_client: Any, hosts: Hosts) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    left = docker_client.containers.create(IMAGE, labels={LABEL: f"{ended.pid}@0.00"})
    remove_leftovers(docker_client)
    with pytest.raises(NotFound):
        docker_client.containers.get(left.id)
    assert hosts.agent.run("echo here") == "here\n"


@contextmanager
def server(address: str) -> Iterator[int]:
    """A port of this machine where whoever connects is told its own address."""
    with socket.create_server((address, 0)) as listener:

        def serve() -> None:
            connection, peer = listener.accept()
            with connection:
                connection.sendall(peer[0].encode())

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def test_containers_reach_other_hosts_and_this_machine(hosts: Hosts) -> None:
    first, second, _ = hosts.agents
    for host in (first, second):
        host.make_image("small")
    second.run("docker run --detach --publish 8000:80 small socat TCP-LISTEN:80,fork SYSTEM:'echo hello'")
    hears = "docker run --rm {} small sh -c 'test \"$(socat -u TCP:{}:{} -)\" = {}'"
    first.run(hears.format("--network host", second.ip, 8000, "hello"))
    first.run(hears.format("", second.ip, 8000, "hello"))
    with server(hosts.gateway) as port:
        first.run(hears.format("", hosts.gateway, port, first.ip))
    second.clear()


def test_a_full_disk_is_full_and_what_was_there_comes_back(hosts: Hosts) -> None:
    agent = hosts.agent
    agent.run("mkdir -p /etc/cluster && echo kept >/etc/cluster/file")
    with agent.full("/etc/cluster"):
        assert "No space left" in agent.run("cp /etc/passwd /etc/cluster/ 2>&1 || true")
    assert agent.run("cat /etc/cluster/file") == "kept\n"
    agent.clear()


def test_an_engine_is_stopped_and_started(hosts: Hosts) -> None:
    agent = hosts.agent
    agent.stop_engine()
    assert ssh(hosts.ssh_config, agent.name, "docker version").returncode == 1
    agent.start_engine()
    assert ssh(hosts.ssh_config, agent.name, "docker version").returncode == 0
