"""Where the stand-in for Marathon runs tasks, and what becomes of them when a host goes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import docker
import pytest

from cluster.images import base_image
from tests.integration.network import Network
from tests.standin import wire
from tests.standin.agents import Agent
from tests.standin.asking import Asking
from tests.standin.rig import COMMAND, container_of, listening, sleeper, two_agents
from tests.standin.server import Standin
from tests.standin.world import World
from tests.waiting import until

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def cluster(docker_client: Any) -> Iterator[Asking]:
    """All tests share it; what they deploy in it goes after each."""
    with two_agents(docker_client, {}) as marathon:
        yield marathon


@pytest.fixture
def marathon(cluster: Asking) -> Iterator[Asking]:
    yield cluster
    cluster.delete_all()


class TestPlaces:
    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ({"constraints": [["hostname", "CLUSTER", "elsewhere"]]}, "UnfulfilledConstraint"),
            ({"cpus": 3}, "InsufficientCpus"),
            ({"mem": 2000}, "InsufficientMemory"),
            ({"portDefinitions": [{"port": 5672}], "requirePorts": True}, "InsufficientPorts"),
        ],
    )
    def test_that_do_not_fit_are_told_with_a_reason(
        self, marathon: Asking, fields: dict[str, Any], reason: str
    ) -> None:
        deployment = marathon.post(sleeper("/misfit", **fields))
        summary = until(lambda: self.summary(marathon), "offers were looked at")
        assert [line["reason"] for line in summary["rejectSummaryLastOffers"] if line["declined"] == 2] == [reason]
        assert summary["unusedOffersCount"] == summary["processedOffersCount"]
        assert not marathon.is_done(deployment)

    def summary(self, marathon: Asking) -> Any:
        found = [item["processedOffersSummary"] for item in marathon.get("/v2/queue")["queue"]]
        return found[0] if found and found[0]["processedOffersCount"] else None

    def test_are_counted(self, marathon: Asking) -> None:
        deployment = marathon.post(sleeper("/fills", cpus=1.5, instances=3))
        until(lambda: len(marathon.running("/fills")) == 2, "two of three run")
        assert {task["host"] for task in marathon.app("/fills")["tasks"]} == {"127.0.0.1", "127.0.0.2"}
        assert marathon.get("/v2/queue")["queue"][0]["count"] == 1
        assert not marathon.is_done(deployment)
        marathon.wait(marathon.put("/fills", {"instances": 2}, force=True))

    @pytest.mark.parametrize(
        "constraint",
        [["hostname", "CLUSTER", "127.0.0.2"], ["rack", "LIKE", "r2|r3"], ["hostname", "UNLIKE", "127.0.0.1"]],
        ids=["cluster", "like", "unlike"],
    )
    def test_follow_a_constraint(self, marathon: Asking, constraint: list[str]) -> None:
        app = marathon.deploy(sleeper("/placed", constraints=[constraint], instances=2))
        assert [task["host"] for task in app["tasks"]] == ["127.0.0.2"] * 2

    def test_keep_a_fixed_port(self, marathon: Asking) -> None:
        fixed = {"portDefinitions": [{"port": 31999}], "requirePorts": True}
        assert marathon.deploy(sleeper("/fixed", **fixed))["tasks"][0]["ports"] == [31999]

    def test_of_one_agent_have_a_fixed_port_once(self, marathon: Asking) -> None:
        """An update that starts the new task first never ends; one that ends the old task first does."""
        fixed: dict[str, Any] = {"portDefinitions": [{"port": 31999}], "requirePorts": True}
        app = sleeper("/fixed", constraints=[["hostname", "CLUSTER", "127.0.0.1"]], **fixed)
        old = marathon.deploy(app)["tasks"][0]["id"]
        stuck = marathon.put("/fixed", {"env": {"A": "2"}})
        summary = until(lambda: self.summary(marathon), "offers were looked at")
        declined = {line["reason"]: line["declined"] for line in summary["rejectSummaryLastOffers"]}
        assert (declined["InsufficientPorts"], declined["UnfulfilledConstraint"]) == (1, 1)
        assert (marathon.running("/fixed"), marathon.is_done(stuck)) == ([old], False)
        first = {"minimumHealthCapacity": 0, "maximumOverCapacity": 0}
        marathon.wait(marathon.put("/fixed", {"upgradeStrategy": first}, force=True))
        (task,) = marathon.app("/fixed")["tasks"]
        assert (task["ports"], task["id"] == old) == ([31999], False)


@pytest.fixture
def cable() -> Iterator[Network]:
    """A way to this machine's engine over TCP, which can be cut."""
    path = urlsplit(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")).path
    with wire.serving(wire.bridged_to(path)) as address:
        network = Network(f"tcp://{address}")
        network.up()
        yield network
        network.down()


class TestAHostThatGoes:
    @pytest.fixture
    def lone(self, cable: Network, docker_client: Any) -> Iterator[Asking]:
        """A cluster of one agent, at the end of the cable."""
        base_image.ensure_base(docker_client, print)
        client = docker.DockerClient(f"tcp://127.0.0.1:{cable.port}", timeout=10)
        with Standin(World([Agent("127.0.0.1", client)], time_scale=20, agent_timeout_s=2)) as standin:
            yield Asking(standin)
        client.close()

    def test_loses_its_tasks_and_gets_new_ones_when_it_is_back(
        self, lone: Asking, cable: Network, docker_client: Any
    ) -> None:
        lone.wait(lone.post(sleeper("/x", healthChecks=[COMMAND])))
        old = lone.app("/x")["tasks"][0]
        with listening(lone, "status_update_event") as said:
            cable.down()
            until(lambda: lone.app("/x")["tasks"] == [], "the task is given up")
        assert [event["taskStatus"] for event in said()] == ["TASK_UNREACHABLE"]
        assert lone.get("/v2/queue")["queue"][0]["count"] == 1
        cable.up()
        new = until(lambda: lone.running("/x"), "another task")
        assert new != [old["id"]]
        left = {"label": f"MESOS_TASK_ID={old['id']}"}
        until(lambda: not docker_client.containers.list(filters=left), "what is not wanted any more is killed")

    def test_may_keep_its_tasks_until_it_is_back(self, lone: Asking, cable: Network, docker_client: Any) -> None:
        lone.wait(lone.post(sleeper("/x", unreachableStrategy="disabled")))
        task = lone.app("/x")["tasks"][0]
        for dies in (False, True):
            cable.down()
            until(lambda: lone.app("/x")["tasks"][0]["state"] == "TASK_UNREACHABLE", "the task is missed")
            if dies:
                container_of(docker_client, task).kill()
            cable.up()
            until(lambda: lone.running("/x"), "a task runs")
            assert (lone.running("/x") == [task["id"]]) is not dies
        assert lone.app("/x")["lastTaskFailure"]["state"] == "TASK_GONE"
