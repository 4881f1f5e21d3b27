"""The engines of the agents over SSH: what tasks print there, and a task that ends at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.apps.app import AppSpec
from cluster.schedulers.marathon import agents
from cluster.schedulers.marathon.scheduler import Marathon
from cluster.settings import Settings
from scripts.errors import ClusterError
from tests.conftest import own_settings
from tests.hosts.cluster import Hosts
from tests.waiting import until

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def settings(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    assert hosts.agents
    return hosts.settings(own_settings(tmp_path_factory.mktemp("engines")), timeout_s=20)


def opened(settings: Settings, hosts: str, said: list[str]) -> Any:
    return agents.opened(replace(settings, agents=replace(settings.agents, hosts=hosts)), said.append)


def test_a_host_that_cannot_be_reached_is_said_and_hides_no_other(settings: Settings) -> None:
    said: list[str] = []
    with opened(settings, "agent1,127.0.0.1:1,agent2", said) as engines:
        assert all(engine.ping() for engine in engines)
        assert len(engines) == 2
    assert [line.startswith("left out: 127.0.0.1:1: ") for line in said] == [True]


def test_none_that_can_be_reached_is_an_error(settings: Settings) -> None:
    with pytest.raises(ClusterError, match=r"none .*127\.0\.0\.1:1: "):
        opened(settings, "127.0.0.1:1", []).__enter__()


def test_without_hosts_an_error_says_where_to_name_them(tmp_path: Path) -> None:
    with (
        pytest.raises(ClusterError, match=r"agents\.hosts of invoke\.yaml"),
        agents.opened(own_settings(tmp_path), print),
    ):
        pass


@pytest.fixture
def tasks(settings: Settings, hosts: Hosts) -> Iterator[dict[str, str]]:
    """A task on each of two hosts, by the host."""
    there = hosts.agents[:2]
    found = {host.name: f"x.instance-{host.name}._app.1" for host in there}
    for host in there:
        host.make_image("prints")
        with host.engine() as engine:
            prints = f"echo from {host.name}; exec sleep 600"
            labels = {agents.TASK: found[host.name]}
            engine.containers.run("prints", ["sh", "-c", prints], detach=True, labels=labels)
    yield found
    for host in there:
        host.clear()


def test_tasks_are_found_on_whichever_host_they_are(settings: Settings, tasks: dict[str, str]) -> None:
    ids = list(tasks.values())
    wanted = [f"{task}: from {name}" for name, task in tasks.items()]
    with opened(settings, ",".join(tasks), []) as engines:
        until(lambda: list(agents.lines(engines, "/x", ids, 100, False)) == wanted, "their lines")
        agents.kill(engines, ids)
        found = agents.containers_of(engines, ids)
    assert [container.status for container in found.values()] == ["exited", "exited"]


def test_a_command_is_tried_on_the_first_agent_that_answers(settings: Settings, hosts: Hosts) -> None:
    there, said = hosts.agents[0], list[str]()
    there.make_image("tries")
    named = replace(settings, agents=replace(settings.agents, hosts=f"127.0.0.1:1,{there.name}"))
    app = AppSpec("/x", 'echo "as $A"; exit 7', "tries", {"A": "b"}, pinned_to="elsewhere")
    try:
        assert Marathon.make(named, "127.0.0.1:1", said.append).run_once(app) == (7, ["as b"])
    finally:
        there.clear()
    nobody = replace(settings, agents=replace(settings.agents, hosts="127.0.0.1:1"))
    with pytest.raises(ClusterError, match=r"127\.0\.0\.1:1"):
        Marathon.make(nobody, "127.0.0.1:1", said.append).run_once(app)
