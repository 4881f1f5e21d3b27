"""What the stand-in for Marathon runs: real containers on this machine's engine, which plays two agents."""

from __future__ import annotations

import io
import json
import os
import tarfile
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit

import docker
import pytest

from cluster import base_image
from tests.integration.network import Network
from tests.standin import wire
from tests.standin.agents import Agent
from tests.standin.asking import Asking, eventually
from tests.standin.executor import LABEL
from tests.standin.server import Standin
from tests.standin.world import World

pytestmark = pytest.mark.engine

IMAGE = base_image.NAME
COMMAND = {"protocol": "COMMAND", "command": {"value": "true"}, "delaySeconds": 0, "intervalSeconds": 1}


def sleeper(app_id: str, cmd: str = "exec sleep 600", **fields: Any) -> dict[str, Any]:
    """An app that needs next to nothing; init makes it end at the first signal."""
    docker_part = {"image": IMAGE, "parameters": [{"key": "init", "value": "true"}]} | fields.pop("docker", {})
    container = {"type": "DOCKER", "docker": docker_part} | fields.pop("container", {})
    return {"id": app_id, "cmd": cmd, "cpus": 0.1, "mem": 32, "container": container} | fields


def archive(config: dict[str, Any]) -> bytes:
    """A docker.tar.gz with this as its .docker/config.json."""
    content, written = json.dumps(config).encode(), io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as tar:
        entry = tarfile.TarInfo(".docker/config.json")
        entry.size, entry.mode = len(content), 0o600
        tar.addfile(entry, io.BytesIO(content))
    return written.getvalue()


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """What the agents have under their paths."""
    return {}


@pytest.fixture(scope="module")
def marathon(docker_client: Any, files: dict[str, bytes]) -> Iterator[Asking]:
    """Two agents on one engine, in a world in which a second is a twentieth of one."""
    base_image.ensure_base(docker_client, print)
    agents = [
        Agent(f"127.0.0.{number}", docker_client, 2, 1024, {"rack": f"r{number}"}, read_file=files.__getitem__)
        for number in (1, 2)
    ]
    with Standin(World(agents, time_scale=20)) as standin:
        yield Asking(standin)
    left = docker_client.containers.list(all=True, filters={"label": [f"{LABEL}={agent.id}" for agent in agents]})
    assert left == []


@pytest.fixture
def deployed(marathon: Asking) -> Iterator[Callable[[dict[str, Any]], dict[str, Any]]]:
    """Deploys an app and returns it when all runs; it is deleted in the end."""
    ids = []

    def deploy(app: dict[str, Any]) -> dict[str, Any]:
        deployment = marathon.post(app)
        ids.append(app["id"])
        marathon.wait(deployment)
        return marathon.app(app["id"])

    yield deploy
    for deployment in [marathon.delete(app_id) for app_id in ids]:
        marathon.wait(deployment)


@pytest.fixture
def begun(marathon: Asking) -> Iterator[Callable[[dict[str, Any]], str]]:
    """Begins to deploy an app that may never run; the deployment's id."""
    ids = []

    def begin(app: dict[str, Any]) -> str:
        ids.append(app["id"])
        return marathon.post(app)

    yield begin
    for app_id in ids:
        if marathon.ask("GET", f"/v2/apps{app_id}").ok:
            marathon.wait(marathon.delete(app_id))


def container_of(client: Any, task: dict[str, Any]) -> Any:
    """The container of a task, found as a person would find it."""
    return client.containers.list(all=True, filters={"label": f"MESOS_TASK_ID={task['id']}"})[0]


class TestATask:
    def test_is_a_container_as_mesos_would_run_it(self, deployed: Any, docker_client: Any) -> None:
        app = deployed(sleeper("/group/x", env={"OWN": "$(1)"}, healthChecks=[COMMAND], instances=2, mem=1))
        assert (app["tasksRunning"], app["tasksHealthy"], app["tasksStaged"]) == (2, 2, 0)
        task = app["tasks"][0]
        found = container_of(docker_client, task).attrs
        env = dict(entry.split("=", 1) for entry in found["Config"]["Env"])
        assert found["Name"] == f"/{env['MESOS_CONTAINER_NAME']}"
        assert (found["Config"]["Entrypoint"], found["Config"]["Cmd"]) == (["/bin/sh"], ["-c", "exec sleep 600"])
        assert (found["HostConfig"]["NetworkMode"], found["HostConfig"]["Init"]) == ("host", True)
        assert (found["HostConfig"]["Memory"], found["HostConfig"]["CpuShares"]) == (32 << 20, 102)
        assert (env["OWN"], env["HOST"], env["PORT0"]) == ("$(1)", task["host"], str(task["ports"][0]))
        assert 31000 <= task["ports"][0] <= 32000
        assert task["id"].startswith("group_x.instance-")
        assert task["startedAt"] > task["stagedAt"] > app["version"] == task["version"]

    def test_publishes_its_ports_on_a_bridge(self, deployed: Any) -> None:
        listen = "$s = IO::Socket::INET->new(LocalPort => 80, Listen => 9); $s->accept while 1"
        mappings = {"portMappings": [{"containerPort": 80, "name": "http"}]}
        check = {"protocol": "MESOS_TCP", "delaySeconds": 0, "intervalSeconds": 1}
        bridge = {"networks": [{"mode": "container/bridge"}], "container": mappings, "healthChecks": [check]}
        task = deployed(sleeper("/bridged", f"exec perl -MIO::Socket::INET -e '{listen}'", **bridge))["tasks"][0]
        assert task["healthCheckResults"][0]["alive"] is True
        assert task["ipAddresses"][0]["ipAddress"].startswith("172.")

    @pytest.mark.parametrize(
        ("cmd", "state", "message"),
        [
            ("exit 3", "TASK_FAILED", "Container exited with status 3"),
            ("sleep 0.3; exit 0", "TASK_FINISHED", "Container exited with status 0"),
            ("exec perl -e '$x = 1 x (1 << 28); sleep 60'", "TASK_FAILED", "Container exited with status 137"),
        ],
        ids=["exit", "finish", "memory"],
    )
    def test_that_ends_is_replaced_later_and_later(
        self, marathon: Asking, begun: Any, cmd: str, state: str, message: str
    ) -> None:
        with listening(marathon, "status_update_event") as said:
            begun(sleeper("/ends", cmd, docker={"parameters": [{"key": "memory-swap", "value": str(32 << 20)}]}))
            eventually(lambda: sum(event["taskStatus"] == state for event in said()) > 1, "two tasks end")
        ended = next(event for event in said() if event["taskStatus"] == state)
        assert ended["message"] == message
        failure = marathon.app("/ends").get("lastTaskFailure", {})
        assert failure.get("message") == (message if state == "TASK_FAILED" else None)
        states = [event["taskStatus"] for event in said() if event["taskId"] == ended["taskId"]]
        assert states == ["TASK_STAGING", "TASK_RUNNING", state]

    def test_that_does_not_listen_is_killed_in_the_end(self, marathon: Asking, begun: Any, docker_client: Any) -> None:
        deaf = "trap '' TERM; echo up; while :; do sleep 1; done"
        marathon.wait(begun(sleeper("/deaf", deaf, taskKillGracePeriodSeconds=1)))
        task = marathon.app("/deaf")["tasks"][0]
        container = container_of(docker_client, task)
        eventually(lambda: b"up" in container.logs(), "the trap is set")
        deployment = marathon.delete("/deaf")
        assert marathon.ask("GET", "/v2/apps/deaf").status_code == 404
        container.reload()
        assert (container.status, marathon.is_done(deployment)) == ("running", False)
        marathon.wait(deployment)
        container.reload()
        assert container.attrs["State"]["ExitCode"] == 137

    def test_may_be_killed_and_another_comes(self, marathon: Asking, deployed: Any) -> None:
        task = deployed(sleeper("/killed"))["tasks"][0]
        marathon.ask("DELETE", f"/v2/apps/killed/tasks/{task['id']}")
        eventually(lambda: running(marathon, "/killed") not in ([], [task["id"]]), "another task runs")
        assert "lastTaskFailure" not in marathon.app("/killed")


def running(marathon: Asking, app_id: str) -> list[str]:
    return [task["id"] for task in marathon.app(app_id)["tasks"] if task["state"] == "TASK_RUNNING"]


@contextmanager
def listening(marathon: Asking, *kinds: str) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """All events of these kinds that were told since; the list grows."""
    world, heard, over, attached = marathon.standin.world, [], Event(), Event()

    def listen() -> None:
        for frame in world.events.stream([*kinds, "event_stream_attached"], over):
            for line in frame.decode().splitlines():
                if line.startswith("data: "):
                    heard.append(json.loads(line.removeprefix("data: ")))
                    attached.set()

    thread = Thread(target=listen, daemon=True)
    thread.start()
    attached.wait(5)
    yield lambda: [event for event in heard if event["eventType"] in kinds]
    over.set()
    thread.join()


class TestAnUpdate:
    def test_starts_the_new_task_before_it_ends_the_old_one(self, marathon: Asking, deployed: Any) -> None:
        old = deployed(sleeper("/rolls", healthChecks=[COMMAND]))["tasks"][0]["id"]
        with listening(marathon, "status_update_event") as said:
            marathon.wait(marathon.put("/rolls", {"env": {"A": "2"}}))
        new = running(marathon, "/rolls")
        assert old not in new
        ends = [(event["taskId"], event["taskStatus"]) for event in said()]
        assert ends == [(new[0], "TASK_STAGING"), (new[0], "TASK_RUNNING"), (old, "TASK_KILLED")]

    def test_without_room_ends_the_old_one_first(self, marathon: Asking, deployed: Any) -> None:
        strategy = {"minimumHealthCapacity": 0, "maximumOverCapacity": 0}
        old = deployed(sleeper("/replaced", upgradeStrategy=strategy))["tasks"][0]["id"]
        with listening(marathon, "status_update_event") as said:
            marathon.wait(marathon.put("/replaced", {"env": {"A": "2"}}))
        assert (said()[0]["taskId"], said()[0]["taskStatus"]) == (old, "TASK_KILLED")

    def test_of_the_number_alone_leaves_tasks_as_they_are(self, marathon: Asking, deployed: Any) -> None:
        first = deployed(sleeper("/scaled"))["tasks"][0]["id"]
        marathon.wait(marathon.put("/scaled", {"instances": 3}))
        assert len(running(marathon, "/scaled")) == 3
        marathon.wait(marathon.put("/scaled", {"instances": 1}))
        assert running(marathon, "/scaled") == [first]

    def test_that_cannot_work_is_undone_by_its_deletion(self, marathon: Asking, deployed: Any) -> None:
        app = deployed(sleeper("/undone", healthChecks=[COMMAND]))
        deployment = marathon.put("/undone", {"cmd": "exit 1"})
        eventually(lambda: "lastTaskFailure" in marathon.app("/undone"), "a failure")
        assert not marathon.is_done(deployment)
        assert app["tasks"][0]["id"] in running(marathon, "/undone")
        undo = marathon.ask("DELETE", f"/v2/deployments/{deployment}").json()["deploymentId"]
        marathon.wait(undo)
        now = marathon.app("/undone")
        assert (now["cmd"], len(now["tasks"])) == (app["cmd"], 1)

    def test_that_never_gets_healthy_stays_and_tells_no_failure(self, marathon: Asking, begun: Any) -> None:
        bad = COMMAND | {"command": {"value": "exit 1"}, "gracePeriodSeconds": 0, "maxConsecutiveFailures": 2}
        with listening(marathon, "status_update_event", "health_status_changed_event") as said:
            deployment = begun(sleeper("/sick", healthChecks=[bad]))
            eventually(lambda: any(event.get("taskStatus") == "TASK_KILLED" for event in said()), "a kill")
        assert any(event.get("alive") is False for event in said())
        assert not marathon.is_done(deployment)
        assert "lastTaskFailure" not in marathon.app("/sick")


class TestAnImage:
    def test_that_cannot_be_pulled_is_told_and_slows_down(self, marathon: Asking, begun: Any) -> None:
        image = "127.0.0.1:1/none:1"
        deployment = begun(sleeper("/none", docker={"image": image}))
        eventually(lambda: "lastTaskFailure" in marathon.app("/none"), "a failure")
        failure = marathon.app("/none")["lastTaskFailure"]
        wanted = f"Failed to launch container: Failed to run 'docker -H unix:///var/run/docker.sock pull {image}'"
        assert failure["message"].startswith(f"{wanted}: exited with status 1; stderr='Error response from daemon: ")
        assert (failure["state"], failure["appId"]) == ("TASK_FAILED", "/none")
        assert failure["timestamp"] > marathon.app("/none")["version"] == failure["version"]
        assert not marathon.is_done(deployment)

    def test_that_is_there_is_pulled_only_by_force(self, begun: Any, marathon: Asking, docker_client: Any) -> None:
        docker_client.images.get(IMAGE).tag("127.0.0.1:1/there", "1")
        image = {"image": "127.0.0.1:1/there:1"}
        try:
            marathon.wait(begun(sleeper("/there", docker=image)))
            begun(sleeper("/forced", docker=image | {"forcePullImage": True}))
            eventually(lambda: "lastTaskFailure" in marathon.app("/forced"), "a failure")
        finally:
            marathon.wait(marathon.delete("/there"))
            marathon.wait(marathon.delete("/forced"))
            docker_client.images.remove("127.0.0.1:1/there:1", force=True)

    def test_takes_its_time_and_can_be_given_up(self, marathon: Asking, begun: Any) -> None:
        marathon.standin.world.pull_delay_s = 60
        try:
            deployment = begun(sleeper("/slow"))
            task = eventually(lambda: marathon.app("/slow")["tasks"], "a task")[0]
            assert (task["state"], "startedAt" in task, marathon.app("/slow")["tasksStaged"]) == (
                "TASK_STAGING",
                False,
                1,
            )
            assert not marathon.is_done(deployment)
            marathon.wait(marathon.delete("/slow"))
        finally:
            marathon.standin.world.pull_delay_s = 0

    def test_is_pulled_with_the_login_that_was_fetched(
        self, marathon: Asking, begun: Any, files: dict[str, bytes]
    ) -> None:
        heard: list[bytes] = []
        with wire.serving(asking_for_login(heard)) as registry:
            login = b64encode(b"cluster:secret").decode()
            files["/etc/cluster/docker.tar.gz"] = archive({"auths": {registry: {"auth": login}}})
            fetch = [{"uri": "file:///etc/cluster/docker.tar.gz"}]
            begun(sleeper("/private", docker={"image": f"{registry}/private:1"}, fetch=fetch))
            eventually(lambda: f"Authorization: Basic {login}".encode() in b"".join(heard), "the login")
            marathon.wait(marathon.delete("/private"))

    def test_what_was_fetched_is_in_the_sandbox(self, deployed: Any, files: dict[str, bytes]) -> None:
        files["/etc/a.tar.gz"] = archive({"auths": {}})
        there = COMMAND | {"command": {"value": "test -s $MESOS_SANDBOX/.docker/config.json"}}
        fetch = [{"uri": "file:///etc/a.tar.gz"}]
        assert deployed(sleeper("/fetched", fetch=fetch, healthChecks=[there]))["tasksHealthy"] == 1

    def test_does_not_come_when_a_file_is_not_there(self, marathon: Asking, begun: Any) -> None:
        begun(sleeper("/unfetched", fetch=[{"uri": "file:///etc/none"}]))
        eventually(lambda: "lastTaskFailure" in marathon.app("/unfetched"), "a failure")
        assert "Failed to fetch all URIs" in marathon.app("/unfetched")["lastTaskFailure"]["message"]


def asking_for_login(heard: list[bytes]) -> wire.Conduct:
    """A registry that lets nobody in."""

    def refuse(connection: Any, over: Any) -> None:
        heard.append(connection.recv(65536))
        connection.sendall(
            b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=x\r\n"
            b"Docker-Distribution-Api-Version: registry/2.0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )

    return refuse


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
        self, marathon: Asking, begun: Any, fields: dict[str, Any], reason: str
    ) -> None:
        deployment = begun(sleeper("/misfit", **fields))
        summary = eventually(lambda: self.summary(marathon), "offers were looked at")
        assert [line["reason"] for line in summary["rejectSummaryLastOffers"] if line["declined"] == 2] == [reason]
        assert summary["unusedOffersCount"] == summary["processedOffersCount"]
        assert not marathon.is_done(deployment)

    def summary(self, marathon: Asking) -> Any:
        found = [item["processedOffersSummary"] for item in marathon.get("/v2/queue")["queue"]]
        return found[0] if found and found[0]["processedOffersCount"] else None

    def test_are_counted(self, marathon: Asking, begun: Any) -> None:
        deployment = begun(sleeper("/fills", cpus=1.5, instances=3))
        eventually(lambda: len(running(marathon, "/fills")) == 2, "two of three run")
        assert {task["host"] for task in marathon.app("/fills")["tasks"]} == {"127.0.0.1", "127.0.0.2"}
        assert marathon.get("/v2/queue")["queue"][0]["count"] == 1
        assert not marathon.is_done(deployment)
        marathon.wait(marathon.put("/fills", {"instances": 2}, force=True))

    @pytest.mark.parametrize(
        "constraint",
        [["hostname", "CLUSTER", "127.0.0.2"], ["rack", "LIKE", "r2|r3"], ["hostname", "UNLIKE", "127.0.0.1"]],
        ids=["cluster", "like", "unlike"],
    )
    def test_follow_a_constraint(self, deployed: Any, constraint: list[str]) -> None:
        app = deployed(sleeper("/placed", constraints=[constraint], instances=2))
        assert [task["host"] for task in app["tasks"]] == ["127.0.0.2"] * 2

    def test_keep_a_fixed_port(self, deployed: Any, marathon: Asking) -> None:
        fixed = {"portDefinitions": [{"port": 31999}], "requirePorts": True}
        assert deployed(sleeper("/fixed", **fixed))["tasks"][0]["ports"] == [31999]


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
        with Standin(World([Agent("127.0.0.1", client)], time_scale=20, agent_timeout_s=0.3)) as standin:
            yield Asking(standin)
        client.close()

    def test_loses_its_tasks_and_gets_new_ones_when_it_is_back(
        self, lone: Asking, cable: Network, docker_client: Any
    ) -> None:
        lone.wait(lone.post(sleeper("/x", healthChecks=[COMMAND])))
        old = lone.app("/x")["tasks"][0]
        with listening(lone, "status_update_event") as said:
            cable.down()
            eventually(lambda: lone.app("/x")["tasks"] == [], "the task is given up")
        assert [event["taskStatus"] for event in said()] == ["TASK_UNREACHABLE"]
        assert lone.get("/v2/queue")["queue"][0]["count"] == 1
        cable.up()
        new = eventually(lambda: running(lone, "/x"), "another task")
        assert new != [old["id"]]
        left = {"label": f"MESOS_TASK_ID={old['id']}"}
        eventually(lambda: not docker_client.containers.list(filters=left), "what is not wanted any more is killed")

    def test_may_keep_its_tasks_until_it_is_back(self, lone: Asking, cable: Network, docker_client: Any) -> None:
        lone.wait(lone.post(sleeper("/x", unreachableStrategy="disabled")))
        task = lone.app("/x")["tasks"][0]
        for dies in (False, True):
            cable.down()
            eventually(lambda: lone.app("/x")["tasks"][0]["state"] == "TASK_UNREACHABLE", "the task is missed")
            if dies:
                container_of(docker_client, task).kill()
            cable.up()
            eventually(lambda: running(lone, "/x"), "a task runs")
            assert (running(lone, "/x") == [task["id"]]) is not dies
        assert lone.app("/x")["lastTaskFailure"]["state"] == "TASK_GONE"
