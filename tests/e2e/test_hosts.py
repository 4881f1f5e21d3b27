"""A registry host and agent hosts, from nothing to a container on every agent, by the commands of the guide.

The three agents are reached in three ways: as root, as a user with sudo, and through the jump host.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from docker.errors import ImageNotFound

from cluster import credentials
from cluster.images.registry_errors import CERTIFICATES
from cluster.settings import Settings
from tests.conftest import missing, own_settings
from tests.e2e.conftest import CommandLine
from tests.hosts.cluster import Hosts

pytestmark = pytest.mark.engine

AGENTS = ["agent1", "ops@agent2", "inner-3"]
TAG = "amqp:e2e"
# Each file with its content, time and number: written again, it is another.
FILES = (
    "find /etc/cluster /etc/docker /root/.docker /home/ops/.docker -type f -printf '%p %T@ %i %s\\n' 2>/dev/null | sort"
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of the tests' own, without ~/.ssh and ~/.docker."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def inv(
    docker_client: Any, hosts: Hosts, home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CommandLine]:
    """`inv` beside hosts that nobody has set up."""
    tmp = tmp_path_factory.mktemp("e2e")
    there = [*hosts.agents, hosts.registry]
    assert hosts.jump
    for host in there:
        host.clear()
    registry = f"{hosts.registry.ip}:5000"
    line = CommandLine(replace(own_settings(tmp), registry=registry))
    line.environ |= {
        "HOME": str(home),
        "INVOKE_AGENTS_HOSTS": ",".join(AGENTS),
        "INVOKE_AGENTS_SSH_CONFIG": str(hosts.ssh_config),
    }
    line.environ.pop("SSH_AUTH_SOCK", "")
    yield line
    for host in there:
        host.clear()
    forget(docker_client, line.settings)


def forget(client: Any, settings: Settings) -> None:
    """Take away what this machine has of a registry that is no more."""
    with suppress(ImageNotFound):
        client.images.remove(f"{settings.registry}/{TAG}")
    trusted = CERTIFICATES / settings.registry
    if trusted.exists():
        as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
        subprocess.run([*as_root, "rm", "-r", str(trusted)], check=True)
    of_the_project = credentials.SECRETS.glob(f"{settings.project}-*")
    for kept in (*of_the_project, credentials.SECRETS / f"registry-{settings.registry}.json"):
        kept.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def registry(inv: CommandLine) -> str:
    """The address of a registry that was just set up on the registry host."""
    done = inv.try_("registry.up", "--host", "registry1")
    assert done.returncode == 0, done.stderr
    for_root = re.search(r"sudo (install .*)", done.stderr)
    if for_root and subprocess.run(["sudo", "-n", *for_root[1].split()], check=False).returncode:
        missing(f"this machine's engine trusts a registry only when root says so: {for_root[0]}")
    return done.stdout.strip()


@pytest.fixture(scope="module")
def trusted(inv: CommandLine, registry: str) -> str:
    """The registry, trusted by all agents."""
    assert inv("agents.trust") == ""
    return registry


@pytest.fixture(scope="module")
def pulled(inv: CommandLine, trusted: str) -> str:
    """An image that was built and pushed here and pulled to all agents, by its content."""
    assert inv("queue.build", "-t", TAG).strip() == f"{trusted}/{TAG}"
    return inv("agents.pull", "-t", TAG).strip()


def test_the_registry_has_tls_and_a_login(inv: CommandLine, registry: str) -> None:
    assert registry == inv.settings.registry
    ca = credentials.SECRETS / f"{inv.settings.project}-registry-ca.pem"
    assert requests.get(f"https://{registry}/v2/", verify=str(ca), timeout=10).status_code == 401
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"https://{registry}/v2/", timeout=10)


def test_what_is_not_trusted_is_red_and_what_to_do_is_told(inv: CommandLine, registry: str) -> None:
    done = inv.try_("agents.check")
    assert done.returncode == 1
    assert re.search(r"^HOST +SSH +USER +ENGINE ", done.stdout)
    for agent in AGENTS:
        assert re.search(rf"^{agent} .* ! no trust$", done.stdout, re.MULTILINE)
        assert re.search(rf"^{agent}: registry: .*\./inv agents.trust$", done.stdout, re.MULTILINE)
    assert done.stderr.splitlines()[-1].startswith("error: 3 of 3 hosts are not ready: agent1, ops@agent2, inner-3")


def test_after_trust_all_is_green(inv: CommandLine, trusted: str) -> None:
    table = inv("agents.check")
    assert len(table.splitlines()) == 1 + len(AGENTS)
    assert "!" not in table
    rows = json.loads(inv("agents.check", "--json"))
    assert {row["host"]: row["ok"] for row in rows} == dict.fromkeys(AGENTS, True)


def test_the_registry_lists_what_was_pushed(inv: CommandLine, pulled: str) -> None:
    found = {(image["name"], image["tag"]): image["digest"] for image in json.loads(inv("registry.list", "--json"))}
    assert found[tuple(TAG.split(":"))] == pulled.partition("@")[2]


def test_a_container_of_the_image_starts_on_every_agent(inv: CommandLine, pulled: str) -> None:
    out = inv("agents.run", "--command", f"docker run --rm --network none {pulled} sh -c 'exit 7'; echo $?")
    assert sorted(out.splitlines()) == sorted(f"{agent}: 7" for agent in AGENTS)


def test_the_hosts_pull_by_themselves_with_the_login_that_they_have(
    inv: CommandLine, pulled: str, trusted: str
) -> None:
    out = inv("agents.run", "--command", f"docker pull --quiet {trusted}/{TAG}")
    assert sorted(out.splitlines()) == sorted(f"{agent}: {trusted}/{TAG}" for agent in AGENTS)


def test_doing_all_again_changes_nothing(hosts: Hosts, inv: CommandLine, pulled: str, trusted: str) -> None:
    def state() -> list[str]:
        containers = hosts.registry.run(
            "docker ps --all --quiet | xargs docker inspect -f '{{.Id}} {{.State.StartedAt}}'"
        )
        return [containers, *(host.run(FILES) for host in [*hosts.agents, hosts.registry])]

    before = state()
    again = inv.try_("registry.up", "--host", "registry1")
    assert (again.returncode, again.stdout.strip()) == (0, trusted)
    assert "nothing was changed" in again.stderr
    told = inv.try_("agents.trust").stderr
    assert told.count(f"trusts {trusted} already") == len(AGENTS)
    assert inv("queue.build", "-t", TAG).strip() == f"{trusted}/{TAG}"
    told_of_pull = inv.try_("agents.pull", "-t", TAG)
    assert told_of_pull.stdout.strip() == pulled
    assert told_of_pull.stderr.count("has it already") == len(AGENTS)
    assert state() == before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"])
def test_an_interrupt_says_what_was_done_and_what_not(inv: CommandLine, number: signal.Signals, code: int) -> None:
    with inv.start("agents.run", "--command", "echo begun; sleep 60") as running:
        assert {running.stdout.readline() for _ in AGENTS} == {f"{agent}: begun\n" for agent in AGENTS}
        running.send_signal(number)
        running.send_signal(number)  # fingers are quick
        _, told = running.communicate(timeout=60)
    assert running.returncode == code
    limited = "cut off, where what was begun may go on until its time limit"
    assert told == f"error: interrupted; {limited}: {', '.join(AGENTS)}\n"


def test_a_host_that_hangs_hides_no_other(hosts: Hosts, inv: CommandLine, trusted: str) -> None:
    inv.environ["INVOKE_AGENTS_TIMEOUT_S"] = "8"
    with hosts.agents[0].paused():
        done = inv.try_("agents.check", "--json")
    del inv.environ["INVOKE_AGENTS_TIMEOUT_S"]
    assert done.returncode == 1
    rows = {row["host"]: row for row in json.loads(done.stdout)}
    assert [rows[agent]["ok"] for agent in AGENTS] == [False, True, True]
    assert rows["agent1"]["ssh"]["remedy"]


def test_the_home_of_who_runs_all_this_is_left_alone(home: Path, pulled: str) -> None:
    assert [path.name for path in home.iterdir() if path.name in (".ssh", ".docker")] == []
