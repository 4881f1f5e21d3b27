"""What the stand-in for Marathon runs: real containers on this machine's engine, which plays two agents."""

from __future__ import annotations

import io
import json
import tarfile
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.images import base_image
from tests.standin import wire
from tests.standin.asking import COMMAND, Asking, container_of, sleeper, two_agents
from tests.waiting import until

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """What the agents have under their paths."""
    return {}


@pytest.fixture(scope="module")
def cluster(docker_client: Any, files: dict[str, bytes]) -> Iterator[Asking]:
    """All tests share it; what they deploy in it goes after each."""
    with two_agents(docker_client, files) as marathon:
        yield marathon


@pytest.fixture
def marathon(cluster: Asking) -> Iterator[Asking]:
    cluster.standin.world.updates.clear()
    yield cluster
    cluster.delete_all()


class TestATask:
    def test_is_a_container_as_mesos_would_run_it(self, marathon: Asking, docker_client: Any) -> None:
        app = marathon.deploy(sleeper("/group/x", env={"OWN": "$(1)"}, healthChecks=[COMMAND], instances=2, mem=1))
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

    @pytest.mark.parametrize(
        ("cmd", "state", "message"),
        [
            ("exit 3", "TASK_FAILED", "Container exited with status 3"),
            ("sleep 0.3; exit 0", "TASK_FINISHED", "Container exited with status 0"),
            ("exec perl -e '$x = 1 x (1 << 28); sleep 60'", "TASK_FAILED", "Container exited with status 137"),
        ],
        ids=["exit", "finish", "memory"],
    )
    def test_that_ends_is_replaced_later_and_later(self, marathon: Asking, cmd: str, state: str, message: str) -> None:
        said = marathon.standin.world.updates
        marathon.post(sleeper("/ends", cmd, docker={"parameters": [{"key": "memory-swap", "value": str(32 << 20)}]}))
        until(lambda: sum(told == state for _, told, _ in said) > 1, "two tasks end")
        ended, why = next((task, why) for task, told, why in said if told == state)
        assert why == message
        failure = marathon.app("/ends").get("lastTaskFailure", {})
        assert failure.get("message") == (message if state == "TASK_FAILED" else None)
        states = [told for task, told, _ in said if task == ended]
        assert states == ["TASK_STAGING", "TASK_RUNNING", state]

    def test_that_does_not_listen_is_killed_in_the_end(self, marathon: Asking, docker_client: Any) -> None:
        deaf = "trap '' TERM; echo up; while :; do sleep 1; done"
        task = marathon.deploy(sleeper("/deaf", deaf, taskKillGracePeriodSeconds=3))["tasks"][0]
        container = container_of(docker_client, task)
        until(lambda: b"up" in container.logs(), "the trap is set")
        deployment = marathon.delete("/deaf")
        assert marathon.ask("GET", "/v2/apps/deaf").status_code == 404
        assert marathon.get("/v2/tasks") == {"tasks": []}
        container.reload()
        assert (container.status, marathon.is_done(deployment)) == ("running", False)
        marathon.wait(deployment)
        container.reload()
        assert container.attrs["State"]["ExitCode"] == 137

    def test_that_takes_its_time_to_end_passes_to_a_new_app_of_that_name(self, marathon: Asking) -> None:
        old = marathon.deploy(sleeper("/x", "trap '' TERM; while :; do sleep 1; done"))["tasks"][0]["id"]
        marathon.delete("/x")
        assert marathon.ask("POST", "/v2/apps", sleeper("/x")).status_code == 409
        answer = marathon.ask("POST", "/v2/apps", sleeper("/x"), force=True)
        marathon.wait(answer.json()["deployments"][0]["id"])
        until(lambda: old not in marathon.running("/x"), "the old task ends")
        assert len(marathon.running("/x")) == 1
        assert marathon.standin.world.leaving == []


class TestAnUpdate:
    def test_starts_the_new_task_before_it_ends_the_old_one(self, marathon: Asking) -> None:
        old = marathon.deploy(sleeper("/rolls", healthChecks=[COMMAND]))["tasks"][0]["id"]
        marathon.standin.world.updates.clear()
        marathon.wait(marathon.put("/rolls", {"env": {"A": "2"}}))
        new = marathon.running("/rolls")
        assert old not in new
        said = [(task, told) for task, told, _ in marathon.standin.world.updates]
        assert said == [(new[0], "TASK_STAGING"), (new[0], "TASK_RUNNING"), (old, "TASK_KILLED")]

    def test_without_room_ends_the_old_one_first(self, marathon: Asking) -> None:
        strategy = {"minimumHealthCapacity": 0, "maximumOverCapacity": 0}
        old = marathon.deploy(sleeper("/replaced", upgradeStrategy=strategy))["tasks"][0]["id"]
        marathon.standin.world.updates.clear()
        marathon.wait(marathon.put("/replaced", {"env": {"A": "2"}}))
        assert marathon.standin.world.updates[0][:2] == (old, "TASK_KILLED")

    def test_of_the_number_alone_leaves_tasks_as_they_are(self, marathon: Asking) -> None:
        first = marathon.deploy(sleeper("/scaled"))["tasks"][0]["id"]
        marathon.wait(marathon.put("/scaled", {"instances": 3}))
        assert len(marathon.running("/scaled")) == 3
        marathon.wait(marathon.put("/scaled", {"instances": 1}))
        assert marathon.running("/scaled") == [first]

    def test_that_cannot_work_is_undone_by_its_deletion(self, marathon: Asking) -> None:
        app = marathon.deploy(sleeper("/undone", healthChecks=[COMMAND]))
        deployment = marathon.put("/undone", {"cmd": "exit 1"})
        until(lambda: "lastTaskFailure" in marathon.app("/undone"), "a failure")
        assert not marathon.is_done(deployment)
        assert app["tasks"][0]["id"] in marathon.running("/undone")
        undo = marathon.ask("DELETE", f"/v2/deployments/{deployment}").json()["deploymentId"]
        marathon.wait(undo)
        now = marathon.app("/undone")
        assert (now["cmd"], len(now["tasks"])) == (app["cmd"], 1)

    def test_that_never_gets_healthy_stays_and_tells_no_failure(self, marathon: Asking) -> None:
        bad = COMMAND | {"command": {"value": "exit 1"}, "gracePeriodSeconds": 0, "maxConsecutiveFailures": 2}
        deployment = marathon.post(sleeper("/sick", healthChecks=[bad]))
        until(lambda: "TASK_KILLED" in [told for _, told, _ in marathon.standin.world.updates], "a kill")
        assert not marathon.is_done(deployment)
        assert "lastTaskFailure" not in marathon.app("/sick")


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


class TestAnImage:
    def test_that_cannot_be_pulled_is_told_and_slows_down(self, marathon: Asking) -> None:
        image = "127.0.0.1:1/none:1"
        deployment = marathon.post(sleeper("/none", docker={"image": image}))
        until(lambda: "lastTaskFailure" in marathon.app("/none"), "a failure")
        failure = marathon.app("/none")["lastTaskFailure"]
        wanted = f"Failed to launch container: Failed to run 'docker -H unix:///var/run/docker.sock pull {image}'"
        assert failure["message"].startswith(f"{wanted}: exited with status 1; stderr='Error response from daemon: ")
        assert (failure["state"], failure["appId"]) == ("TASK_FAILED", "/none")
        assert failure["timestamp"] > marathon.app("/none")["version"] == failure["version"]
        assert not marathon.is_done(deployment)

    def test_that_is_there_is_pulled_only_by_force(self, marathon: Asking, docker_client: Any) -> None:
        docker_client.images.get(base_image.NAME).tag("127.0.0.1:1/there", "1")
        image = {"image": "127.0.0.1:1/there:1"}
        try:
            marathon.wait(marathon.post(sleeper("/there", docker=image)))
            marathon.post(sleeper("/forced", docker=image | {"forcePullImage": True}))
            until(lambda: "lastTaskFailure" in marathon.app("/forced"), "a failure")
        finally:
            marathon.delete_all()
            docker_client.images.remove("127.0.0.1:1/there:1", force=True)

    def test_is_pulled_with_the_login_that_was_fetched(self, marathon: Asking, files: dict[str, bytes]) -> None:
        heard: list[bytes] = []
        with wire.serving(asking_for_login(heard)) as registry:
            login = b64encode(b"cluster:secret").decode()
            files["/etc/cluster/docker.tar.gz"] = archive({"auths": {registry: {"auth": login}}})
            fetch = [{"uri": "file:///etc/cluster/docker.tar.gz"}]
            marathon.post(sleeper("/private", docker={"image": f"{registry}/private:1"}, fetch=fetch))
            until(lambda: f"Authorization: Basic {login}".encode() in b"".join(heard), "the login")
            marathon.wait(marathon.delete("/private"))

    def test_what_was_fetched_is_in_the_sandbox(self, marathon: Asking, files: dict[str, bytes]) -> None:
        files["/etc/a.tar.gz"] = archive({"auths": {}})
        there = COMMAND | {"command": {"value": "test -s $MESOS_SANDBOX/.docker/config.json"}}
        fetch = [{"uri": "file:///etc/a.tar.gz"}]
        assert marathon.deploy(sleeper("/fetched", fetch=fetch, healthChecks=[there]))["tasksHealthy"] == 1


def asking_for_login(heard: list[bytes]) -> wire.Conduct:
    """A registry that lets nobody in."""

    def refuse(connection: Any, over: Any) -> None:
        heard.append(connection.recv(65536))
        connection.sendall(
            b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=x\r\n"
            b"Docker-Distribution-Api-Version: registry/2.0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )

    return refuse


def archive(config: dict[str, Any]) -> bytes:
    """A docker.tar.gz with this as its .docker/config.json."""
    content, written = json.dumps(config).encode(), io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as tar:
        entry = tarfile.TarInfo(".docker/config.json")
        entry.size, entry.mode = len(content), 0o600
        tar.addfile(entry, io.BytesIO(content))
    return written.getvalue()
