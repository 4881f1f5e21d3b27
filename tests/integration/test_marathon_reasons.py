"""Why a deploy does not come to its end, in the words of a real engine; Marathon is the stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cluster import schedulers
from cluster.apps import definitions
from cluster.apps.app import AppSpec
from cluster.images import base_image
from cluster.schedulers.marathon import following
from scripts.errors import ClusterError
from tests.integration.marathon_rig import Rig
from tests.standin.agents import Agent
from tests.standin.asking import Asking, container_of
from tests.standin.server import Standin
from tests.standin.world import World
from tests.waiting import until

pytestmark = pytest.mark.engine

IMAGE = "debian:trixie-slim"


@pytest.fixture(scope="module")
def standin(docker_client: Any) -> Iterator[Standin]:
    """A Marathon whose one agent is this machine, and whose times pass a hundred times as fast."""
    base_image.ensure_base(docker_client, print)
    agent = Agent("127.0.0.1", docker_client, cpus=2, mem=1000)
    with Standin(World(agents=[agent], time_scale=100)) as standin:
        yield standin


@pytest.fixture
def rig(standin: Standin, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setattr(following, "POLL_S", 0.05)
    rig = Rig(standin)
    yield rig
    rig.marathon().stop("/x")


def app(image: str = IMAGE, **changes: Any) -> AppSpec:
    """An app that needs next to nothing."""
    docker = {"image": image, "parameters": [{"key": "init", "value": "true"}]}
    small = {"id": "/x", "cmd": "sleep 1000", "cpus": 0.1, "mem": 64, "taskKillGracePeriodSeconds": 1}
    return definitions.read(small | {"container": {"type": "DOCKER", "docker": docker}} | changes)


def why(rig: Rig, timeout_s: float = 60, **changes: Any) -> str:
    """Why this app does not come up."""
    with pytest.raises(ClusterError) as failure:
        rig.deploy(app(**changes), timeout_s)
    assert "\n" not in str(failure.value)
    return str(failure.value)


def test_an_image_that_cannot_be_pulled(rig: Rig) -> None:
    words = why(rig, image="127.0.0.1:1/none:v1")
    assert "did not start on 127.0.0.1: the image 127.0.0.1:1/none:v1 cannot be pulled: Get " in words
    assert "connection refused (the agent cannot reach the registry)" in words


def test_a_program_that_ends(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedulers, "SETTLED_S", 30)  # a busy engine tells late that it has ended
    assert "the last one failed on 127.0.0.1: Container exited with status 3" in why(rig, cmd="exit 3")


def test_more_memory_than_it_has(rig: Rig) -> None:
    # With a health check that never succeeds: it may live for a moment.
    check = {"protocol": "COMMAND", "command": {"value": "false"}}
    words = why(rig, cmd="exec perl -e '$x = 1 x (1 << 28); sleep 60'", mem=32, healthChecks=[check])
    assert "was killed on 127.0.0.1, perhaps since it used more memory than its 32 MiB" in words


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mem": 5000}, "not enough memory free, an instance wants 5000 MiB (1 of 1 offers refused)"),
        ({"cpus": 3}, "not enough CPU free, an instance wants 3 cores"),
        (
            {"constraints": [["hostname", "CLUSTER", "agent7"]]},
            "none is as the constraint says (hostname:CLUSTER:agent7)",
        ),
    ],
    ids=str,
)
def test_no_agent_that_fits(rig: Rig, changes: dict[str, Any], words: str) -> None:
    assert f"no agent fits: {words}" in why(rig, timeout_s=2, **changes)


def test_a_fixed_port_that_the_old_instance_has(rig: Rig) -> None:
    """Marathon starts the new one first, unless the definition says otherwise."""
    fixed = {"portDefinitions": [{"port": 31998}], "requirePorts": True}
    rig.deploy(app(**fixed), 60)
    words = why(rig, timeout_s=2, mem=65, **fixed)
    assert "0 of 1 instances up, 1 to end; no agent fits: not enough free ports, or a fixed hostPort is taken" in words


def test_a_check_that_fails(rig: Rig) -> None:
    check = {"protocol": "COMMAND", "command": {"value": "exit 7"}, "intervalSeconds": 10, "gracePeriodSeconds": 6000}
    words = why(rig, timeout_s=6, healthChecks=[check])
    assert "0 of 1 instances up, 1 not healthy yet" in words


def test_one_that_is_not_healthy_is_replaced_where_only_one_may_be(rig: Rig, docker_client: Any) -> None:
    """Marathon would leave it there, and start no other beside it."""
    check = {"protocol": "COMMAND", "command": {"value": "test -e /tmp/well"}, "delaySeconds": 0, "intervalSeconds": 10}
    alone: dict[str, Any] = {
        "cmd": "touch /tmp/well; exec sleep 1000",
        "healthChecks": [check | {"maxConsecutiveFailures": 1000}],
        "upgradeStrategy": {"minimumHealthCapacity": 0, "maximumOverCapacity": 0},
    }
    rig.deploy(app(**alone), 30)
    (task,) = Asking(rig.standin).app("/x")["tasks"]
    assert container_of(docker_client, task).exec_run(["rm", "/tmp/well"]).exit_code == 0
    until(lambda: Asking(rig.standin).app("/x")["tasksUnhealthy"] == 1, "the check fails")
    (new,) = rig.deploy(app(mem=65, **alone), 30).instances
    assert (new.state, new.name == task["id"]) == ("running", False)
    assert rig.said == ["the old instance of /x on 127.0.0.1 was not healthy, and is ended for the new one"]
