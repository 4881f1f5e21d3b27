"""A cluster from nothing to work being done, by the commands of the guide: hosts, registry, queue, workers.

The agents and the registry are hosts of the tests with engines of their own. Marathon is the stand-in.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import ImageNotFound

from cluster import credentials
from cluster.images.registry_errors import CERTIFICATES
from tests.conftest import own_settings
from tests.e2e.conftest import CommandLine
from tests.hosts.cluster import Hosts
from tests.standin.agents import Agent
from tests.standin.server import Standin
from tests.standin.world import World
from tests.waiting import until

pytestmark = pytest.mark.engine

QUEUE, WORKER = "amqp:cluster", "worker:cluster"
MESSAGES = 1000
# One line a message in a file of the agent, whose /tmp a worker sees.
DONE = "/tmp/done-by-e2e"
ACTION = f"sh -c 'echo \"$(cat)\" >>{DONE}'"
LOOKS_AROUND = "sh -c 'cat; env; cat /proc/[0-9]*/cmdline | tr \\\\0 _'"
# Nothing that a person reads or that is kept anywhere but in .secrets/ and its like on the hosts may have it.
PLANTED = "pl4nted-s3cret"


class Typed(CommandLine):
    """`inv`, and all that it ever printed."""

    said = ""

    def try_(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        done = super().try_(*arguments, stdin=stdin)
        self.said += done.stdout + done.stderr
        return done


@pytest.fixture(scope="module")
def inv(docker_client: Any, hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Typed]:
    """`inv` beside hosts that nobody has set up."""
    there = [*hosts.agents, hosts.registry]
    for host in there:
        host.clear()
    line = Typed(replace(own_settings(tmp_path_factory.mktemp("e2e")), registry=f"{hosts.registry.ip}:5000"))
    line.environ |= {
        "INVOKE_AGENTS_HOSTS": ",".join(host.name for host in hosts.agents),
        "INVOKE_AGENTS_SSH_CONFIG": str(hosts.ssh_config),
        "AMQP_PASSWORD": PLANTED,
        "INVOKE_WORKER_TAG": WORKER,
        "INVOKE_WORKER_MEM_MIB": "128",
    }
    line.environ.pop("SSH_AUTH_SOCK", "")
    yield line
    for host in there:
        host.clear()
    for tag in (QUEUE, WORKER):
        with suppress(ImageNotFound):
            docker_client.images.remove(f"{line.settings.registry}/{tag}")
    shutil.rmtree(CERTIFICATES / line.settings.registry, ignore_errors=True)
    for kept in credentials.SECRETS.glob(f"{line.settings.project}-*"):
        kept.unlink()
    (credentials.SECRETS / f"registry-{line.settings.registry}.json").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def marathon(hosts: Hosts) -> Iterator[Standin]:
    """The stand-in, where the hosts reach it; it runs apps on the agents."""
    with ExitStack() as opened:
        agents = []
        for host in hosts.agents:
            client = opened.enter_context(closing(docker.DockerClient(base_url=host.engine_url, timeout=60)))
            read = host.run
            agents.append(Agent(host.ip, client, read_file=lambda path, read=read: _bytes_of(read, path)))
        yield opened.enter_context(Standin(World(agents, time_scale=10), bind=hosts.gateway))


def _bytes_of(run: Callable[[str], str], path: str) -> bytes:
    import base64

    return base64.b64decode(run(f"base64 {path}"))


@pytest.fixture(scope="module")
def pushed(inv: Typed) -> str:
    """A registry on its host that the agents trust, with both images."""
    registry = inv("registry.up", "--host", "registry1").strip()
    inv("agents.trust")
    inv("queue.build", "-t", QUEUE)
    inv("worker.build", "-t", WORKER)
    return registry


@pytest.fixture(scope="module")
def queue(inv: Typed, pushed: str, marathon: Standin, hosts: Hosts) -> str:
    """The queue on the second agent; its address."""
    home = hosts.agents[1].ip
    address = inv("queue.deploy", "-m", marathon.address, "-t", QUEUE, "--on", home).strip()
    assert address.startswith(f"{home}:")
    return address


@pytest.fixture(scope="module")
def workers(inv: Typed, queue: str, marathon: Standin) -> list[str]:
    """Three workers."""
    return inv(*deployed(marathon), "--instances", "3").split()


def deployed(marathon: Standin, *more: str, action: str = ACTION, of: str = "Some_work") -> list[str]:
    """The deploy of workers of a queue."""
    where = ["-m", marathon.address, "-t", WORKER, "-q", of]
    return ["worker.deploy", *where, "--cpus", "0.5", "--mem-mib", "128", "--action", action, *more]


def url_of_the_queue(inv: Typed, marathon: Standin) -> str:
    """This one result has the password."""
    url = inv.try_("queue.url", "-m", marathon.address).stdout.strip()
    inv.said = inv.said.replace(url, "")
    return url


def done_by(hosts: Hosts) -> list[str]:
    """The bodies that were worked on, on all agents."""
    return [line for host in hosts.agents for line in host.run(f"cat {DONE} 2>/dev/null || true").split()]


def running(inv: Typed, marathon: Standin, app_id: str) -> int:
    return sum(task.state == "TASK_RUNNING" for task in marathon.world.apps[app_id].tasks)


def test_everything_is_done_although_the_queue_s_host_is_switched_off(
    inv: Typed, hosts: Hosts, marathon: Standin, workers: list[str], tmp_path: Path
) -> None:
    assert len(workers) == 3
    wanted = [f"piece-{number}" for number in range(MESSAGES)]
    items = tmp_path / "items.txt"
    items.write_text("".join(f"{piece}\n" for piece in wanted))
    inv("publish", "-m", marathon.address, "-q", "Some_work", "--file", str(items))
    until(lambda: len(done_by(hosts)) > MESSAGES / 10, "a tenth is done", 120)
    hosts.agents[1].restart()
    until(lambda: set(done_by(hosts)) >= set(wanted), "all is done", 180)
    assert "Some_work" in inv("status", "-m", marathon.address)


def test_amqp_publish_gets_in_with_the_url(inv: Typed, queue: str, marathon: Standin) -> None:
    url = url_of_the_queue(inv, marathon)
    assert re.fullmatch(rf"amqp://cluster:{PLANTED}@[\d.]+:\d+", url)


def test_workers_take_messages_of_a_broker_that_is_named(
    inv: Typed, hosts: Hosts, marathon: Standin, queue: str, workers: list[str]
) -> None:
    url = url_of_the_queue(inv, marathon)
    inv(*deployed(marathon, "-u", url, of="Elsewhere"))
    command = marathon.world.apps["/worker-elsewhere"].definition["cmd"]
    assert f"cluster_worker -u {url.replace(f'cluster:{PLANTED}@', '')} -q Elsewhere " in command
    inv("publish", "-m", marathon.address, "-q", "Elsewhere", "--create", "--body", "from-elsewhere")
    until(lambda: "from-elsewhere" in done_by(hosts), "the message is done", 120)
    inv("worker.stop", "-m", marathon.address, "-q", "Elsewhere")


def test_a_map_brings_its_workers(inv: Typed, marathon: Standin, queue: str, tmp_path: Path) -> None:
    items, action = tmp_path / "params.csv", 'printf %s|%s {alpha} "it\'s {n}"'
    items.write_text("alpha,n\n" + "".join(f"a {number},{number}\n" for number in range(20)))

    def mapped(name: str, *more: str) -> list[str]:
        where = ["-m", marathon.address, "-q", "Mapped", "--output", str(tmp_path / name)]
        return ["map", *where, "--file", str(items), "--action", *more]

    def rows(name: str) -> set[str]:
        with (tmp_path / name).open(newline="") as file:
            return {row["result"] for row in csv.DictReader(file)}

    unknown = inv.try_(*mapped("out.csv", "mistyped.r", "--workers", "1"))
    assert (unknown.returncode, "'mistyped.r'" in unknown.stderr.splitlines()[-1]) == (1, True)
    assert "worker-mapped" not in inv("status", "-m", marathon.address)
    wanted = {f"a {number}|it's {number}" for number in range(20)}
    inv(*mapped("out.csv", action, "--workers", "2"))
    inv(*mapped("again.csv", action, "--workers", "1"))
    assert (rows("out.csv"), rows("again.csv")) == (wanted, wanted)
    assert inv.try_(*mapped("other.csv", "cat")).returncode == 1
    inv("worker.stop", "-m", marathon.address, "-q", "Mapped")


def test_scaled_updated_rolled_back_and_stopped(inv: Typed, marathon: Standin, workers: list[str]) -> None:
    app = "/worker-some-work"
    of = ("-m", marathon.address, "-q", "Some_work")
    assert "@sha256:" in marathon.world.apps[app].definition["container"]["docker"]["image"]
    inv("worker.scale", *of, "--instances", "6")
    assert running(inv, marathon, app) == 6
    refused = inv.try_(*deployed(marathon, "--instances", "6", action="mistyped.r"))
    assert (refused.returncode, refused.stderr.splitlines()[-1].partition(" in ")[0]) == (
        1,
        "error: --action 'mistyped.r'",
    )
    assert running(inv, marathon, app) == 6
    inv(*deployed(marathon, "--instances", "6", "--env", "COLOR=blue"))
    assert marathon.world.apps[app].definition["env"]["COLOR"] == "blue"
    inv("worker.rollback", *of)
    assert "COLOR" not in marathon.world.apps[app].definition["env"]
    assert running(inv, marathon, app) == 6
    inv("worker.stop", *of)
    assert app not in marathon.world.apps


def test_the_password_is_nowhere_that_people_look(
    inv: Typed, hosts: Hosts, marathon: Standin, queue: str, workers: list[str]
) -> None:
    shown = inv(*deployed(marathon, "--instances", "1", "--dry-run"))
    shown += inv("queue.deploy", "-m", marathon.address, "-t", QUEUE, "--dry-run")
    inv(*deployed(marathon, action=LOOKS_AROUND))
    inv("publish", "-m", marathon.address, "-q", "Some_work", "--body", "what do you see?")
    logs = ""

    def has_worked() -> bool:
        nonlocal logs
        logs = inv("worker.logs", "-m", marathon.address, "-q", "Some_work")
        return "AMQP_QUEUE=Some_work" in logs

    until(has_worked, "it has worked", 120)
    logs += inv("queue.logs", "-m", marathon.address)
    kept = json.dumps([request.body.decode() for request in marathon.requests])
    kept += json.dumps([app.definition for app in marathon.world.apps.values()])
    there = "".join(
        host.run(
            "cat /proc/*/cmdline | tr '\\0' ' '; docker ps --all --quiet | xargs docker inspect; "
            "docker images --quiet | xargs -n 1 docker history --no-trunc"
        )
        for host in hosts.agents
    )
    for text in (shown, inv.said, logs, kept, there):
        assert text
        assert PLANTED not in text
    wrong = inv.try_("publish", "-u", f"amqp://cluster:{PLANTED}x@{queue}", "-q", "Some_work", "--body", "x")
    assert wrong.returncode == 3
    assert PLANTED not in wrong.stderr


def test_another_user_takes_the_place_of_the_one_before(inv: Typed, marathon: Standin, queue: str) -> None:
    inv.environ["AMQP_USER"] = "other"
    done = inv.try_("queue.deploy", "-m", marathon.address, "-t", QUEUE)
    assert done.returncode == 0, done.stderr
    assert "user cluster of an earlier deploy was removed from the queue\n" in done.stderr
    assert url_of_the_queue(inv, marathon).startswith("amqp://other:")


def test_a_queue_that_is_rolled_back_has_the_login_of_its_version(inv: Typed, marathon: Standin, queue: str) -> None:
    inv("queue.rollback", "-m", marathon.address)
    for name in ("AMQP_USER", "AMQP_PASSWORD"):
        inv.environ.pop(name, "")
    assert url_of_the_queue(inv, marathon).startswith(f"amqp://cluster:{PLANTED}@")
    inv("publish", "-m", marathon.address, "-q", "Some_work", "--create", "--body", "x")
