"""What the stand-in for Marathon runs: real containers on this machine's engine, which plays two agents."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.standin.asking import Asking
from tests.standin.rig import COMMAND, container_of, listening, sleeper, two_agents
from tests.waiting import until

pytestmark = pytest.mark.engine

# A web server that says OK to everybody, on port 80.
SERVE = """exec perl -MIO::Socket::INET -e '
    $server = IO::Socket::INET->new(LocalPort => 80, Listen => 9);
    while ($client = $server->accept) { print $client "HTTP/1.0 200 OK\\r\\n\\r\\n"; close $client }'"""


@pytest.fixture(scope="module")
def cluster(docker_client: Any) -> Iterator[Asking]:
    """All tests share it; what they deploy in it goes after each."""
    with two_agents(docker_client, {}) as marathon:
        yield marathon


@pytest.fixture
def marathon(cluster: Asking) -> Iterator[Asking]:
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

    @pytest.mark.parametrize("protocol", ["MESOS_TCP", "HTTP"])
    def test_publishes_its_ports_on_a_bridge(self, marathon: Asking, protocol: str) -> None:
        check = {"protocol": protocol, "delaySeconds": 0, "intervalSeconds": 1}
        mappings = {"portMappings": [{"containerPort": 80, "name": "http"}]}
        bridge = {"networks": [{"mode": "container/bridge"}], "container": mappings, "healthChecks": [check]}
        task = marathon.deploy(sleeper("/bridged", SERVE, **bridge))["tasks"][0]
        assert task["healthCheckResults"][0]["alive"] is True
        assert task["ipAddresses"][0]["ipAddress"].startswith("172.")

    def test_is_left_alone_before_its_first_check(self, marathon: Asking) -> None:
        task = marathon.deploy(sleeper("/x", healthChecks=[COMMAND | {"delaySeconds": 10}]))["tasks"][0]
        checked = datetime.fromisoformat(task["healthCheckResults"][0]["firstSuccess"])
        assert checked - datetime.fromisoformat(task["startedAt"]) >= timedelta(seconds=10 / 20)

    def test_that_marathon_itself_finds_sick_leaves_a_failure(self, marathon: Asking) -> None:
        check = {"protocol": "HTTP", "gracePeriodSeconds": 0, "intervalSeconds": 1, "maxConsecutiveFailures": 1}
        marathon.post(sleeper("/sick", healthChecks=[check]))
        failure = until(lambda: marathon.app("/sick").get("lastTaskFailure"), "a failure")
        assert failure["state"] == "TASK_KILLED"
        assert failure["message"].startswith("Task was killed since health check failed. Reason: ConnectionRefused")

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
        with listening(marathon, "status_update_event") as said:
            marathon.post(
                sleeper("/ends", cmd, docker={"parameters": [{"key": "memory-swap", "value": str(32 << 20)}]})
            )
            until(lambda: sum(event["taskStatus"] == state for event in said()) > 1, "two tasks end")
        ended = next(event for event in said() if event["taskStatus"] == state)
        assert ended["message"] == message
        failure = marathon.app("/ends").get("lastTaskFailure", {})
        assert failure.get("message") == (message if state == "TASK_FAILED" else None)
        states = [event["taskStatus"] for event in said() if event["taskId"] == ended["taskId"]]
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

    def test_that_is_killed_says_so_on_the_way_where_that_is_switched_on(
        self, marathon: Asking, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(marathon.standin.world, "task_killing", True)
        marathon.deploy(sleeper("/x"))
        with listening(marathon, "status_update_event") as said:
            marathon.wait(marathon.delete("/x"))
        assert [event["taskStatus"] for event in said()] == ["TASK_KILLING", "TASK_KILLED"]

    def test_is_not_replaced_before_its_delay_is_over(self, marathon: Asking) -> None:
        with listening(marathon, "status_update_event") as said:
            marathon.post(sleeper("/ends", "exit 1", backoffSeconds=1000))
            until(lambda: self.is_late(marathon, "/ends"), "a delay")
            marathon.ask("DELETE", "/v2/queue/ends/delay")
            until(lambda: [event["taskStatus"] for event in said()].count("TASK_FAILED") == 2, "another end")
            until(lambda: self.is_late(marathon, "/ends"), "a delay")
            marathon.wait(marathon.delete("/ends"))
        assert [event["taskStatus"] for event in said()].count("TASK_STAGING") == 2

    def is_late(self, marathon: Asking, app_id: str) -> bool:
        waiting = [item for item in marathon.get("/v2/queue")["queue"] if item["app"]["id"] == app_id]
        return bool(waiting) and not waiting[0]["delay"]["overdue"]

    def test_without_an_image_cannot_run_here(self, marathon: Asking) -> None:
        marathon.post({"id": "/bare", "cmd": "sleep 1", "cpus": 0.1})
        failure = until(lambda: marathon.app("/bare").get("lastTaskFailure"), "a failure")
        assert "no containerizer but Docker's" in failure["message"]

    def test_may_be_killed_and_another_comes(self, marathon: Asking) -> None:
        task = marathon.deploy(sleeper("/killed"))["tasks"][0]
        marathon.ask("DELETE", f"/v2/apps/killed/tasks/{task['id']}")
        until(lambda: marathon.running("/killed") not in ([], [task["id"]]), "another task runs")
        assert "lastTaskFailure" not in marathon.app("/killed")


class TestAnUpdate:
    def test_starts_the_new_task_before_it_ends_the_old_one(self, marathon: Asking) -> None:
        old = marathon.deploy(sleeper("/rolls", healthChecks=[COMMAND]))["tasks"][0]["id"]
        with listening(marathon, "status_update_event") as said:
            marathon.wait(marathon.put("/rolls", {"env": {"A": "2"}}))
        new = marathon.running("/rolls")
        assert old not in new
        ends = [(event["taskId"], event["taskStatus"]) for event in said()]
        assert ends == [(new[0], "TASK_STAGING"), (new[0], "TASK_RUNNING"), (old, "TASK_KILLED")]

    def test_without_room_ends_the_old_one_first(self, marathon: Asking) -> None:
        strategy = {"minimumHealthCapacity": 0, "maximumOverCapacity": 0}
        old = marathon.deploy(sleeper("/replaced", upgradeStrategy=strategy))["tasks"][0]["id"]
        with listening(marathon, "status_update_event") as said:
            marathon.wait(marathon.put("/replaced", {"env": {"A": "2"}}))
        assert (said()[0]["taskId"], said()[0]["taskStatus"]) == (old, "TASK_KILLED")

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
        with listening(marathon, "status_update_event", "health_status_changed_event") as said:
            deployment = marathon.post(sleeper("/sick", healthChecks=[bad]))
            until(lambda: any(event.get("taskStatus") == "TASK_KILLED" for event in said()), "a kill")
        assert any(event.get("alive") is False for event in said())
        assert not marathon.is_done(deployment)
        assert "lastTaskFailure" not in marathon.app("/sick")
