"""The hosts of the tests are hosts: ssh lets in, engines run, and all comes back after a restart."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.hosts.cluster import Hosts

pytestmark = pytest.mark.engine


def ssh(config: Path, host: str, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["ssh", "-F", str(config), "-o", "BatchMode=yes", host, command],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip


def test_ssh_lets_root_and_ops_in(hosts: Hosts) -> None:
    agent = hosts.agent
    assert ssh(hosts.ssh_config, agent.name, "id -un").stdout == "root\n"
    assert ssh(hosts.ssh_config, f"ops@{agent.ip}", "sudo -n id -un; docker info -f ok").stdout == "root\nok\n"


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
