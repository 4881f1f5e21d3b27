"""What the stand-in for Marathon does when it is told to change something; nothing runs here but the stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.standin import filters
from tests.standin.asking import Asking
from tests.standin.server import Standin
from tests.standin.world import World
from tests.waiting import until

X: dict[str, Any] = {"id": "/x", "cmd": "sleep 1", "instances": 1}
LOCKED = (
    "App is locked by one or more deployments. Override with the option '?force=true'. "
    "View details at '/v2/deployments/<DEPLOYMENT_ID>'."
)


@pytest.fixture
def marathon() -> Iterator[Asking]:
    """A Marathon without agents: what is started stays in the queue unless a test adds a task."""
    with Standin() as standin:
        yield Asking(standin)


@pytest.fixture
def world(marathon: Asking) -> World:
    return marathon.standin.world


def running(marathon: Asking, **changes: Any) -> None:
    """The app /x, deployed, one task running."""
    deployment = marathon.post(X | changes)
    marathon.standin.world.add_task("/x")
    marathon.wait(deployment)


class TestCreating:
    def test_answers_with_the_app_before_anything_runs(self, marathon: Asking) -> None:
        answer = marathon.ask("POST", "/v2/apps", X | {"id": "group/x"})
        app = answer.json()
        assert answer.status_code == 201
        assert answer.headers["Marathon-Deployment-Id"] == app["deployments"][0]["id"]
        assert (app["id"], app["cpus"], app["mem"], app["version"][-1]) == ("/group/x", 1, 128, "Z")
        assert [app[f"tasks{kind}"] for kind in ("Staged", "Running", "Healthy", "Unhealthy")] == [0] * 4
        assert not {"tasks", "versionInfo", "env", "constraints"} & app.keys()
        assert app["portDefinitions"][0]["port"] == 0
        assert marathon.app("/group/x")["portDefinitions"][0]["port"] == 10000

    def test_is_a_start_and_a_scaling_and_ends_when_the_tasks_run(self, marathon: Asking, world: World) -> None:
        deployment = marathon.post(X | {"healthChecks": [{"protocol": "COMMAND", "command": {"value": "true"}}]})
        until(lambda: marathon.get("/v2/deployments")[0]["currentStep"] == 2, "the second step")
        plan = marathon.get("/v2/deployments")[0]
        actions = [[action["action"] for action in step["actions"]] for step in plan["steps"]]
        assert actions == [["StartApplication"], ["ScaleApplication"]]
        assert plan["currentActions"] == [{"action": "ScaleApplication", "app": "/x", "readinessCheckResults": []}]
        assert (plan["affectedApps"], plan["affectedPods"], plan["totalSteps"]) == (["/x"], [], 2)
        assert marathon.app("/x")["deployments"] == [{"id": deployment}]
        task = world.add_task("/x")
        assert not marathon.is_done(deployment)
        with world.changed:
            task.results.append(world.health_result(task, alive=True))
        marathon.wait(deployment)
        assert marathon.app("/x")["deployments"] == []

    def test_with_put_is_a_201_too(self, marathon: Asking) -> None:
        answer = marathon.ask("PUT", "/v2/apps/x", {"cmd": "true"})
        assert (answer.status_code, sorted(answer.json())) == (201, ["deploymentId", "version"])
        assert answer.headers["Marathon-Deployment-Id"] == answer.json()["deploymentId"]
        assert marathon.app("/x")["version"] == answer.json()["version"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "told"),
    [
        ("POST", "/v2/apps", b"{no json", 400, {"message": "Invalid JSON", "details": str}),
        ("POST", "/v2/apps", b"", 400, {"message": "Please specify data in JSON format", "details": str}),
        ("POST", "/v2/apps", X | {"instances": "2"}, 422, {"message": "Invalid JSON", "details": list}),
        ("PUT", "/v2/apps/x", {"env": {"A": 1}}, 422, {"message": "Invalid JSON", "details": list}),
        ("PUT", "/v2/apps/x", [], 422, {"message": "Invalid JSON", "details": list}),
        ("POST", "/v2/apps", {"id": "/y"}, 422, {"message": "Object is not valid", "details": list}),
        ("PUT", "/v2/apps/x", {"cmd": "x"}, 422, {"message": "Object is not valid", "details": list}),
        ("POST", "/v2/apps", X, 409, {"message": "An app with id [/x] already exists."}),
        ("PUT", "/v2/apps/x", {"cpus": 2}, 409, {"message": LOCKED, "deployments": list}),
        ("POST", "/v2/apps/x/restart", None, 409, {"message": LOCKED, "deployments": list}),
        ("PUT", "/v2/apps/x", {"version": "2015-01-01T00:00:00.000Z"}, 404, {"message": "App '/x' does not exist"}),
        ("DELETE", "/v2/apps/y", None, 404, {"message": "App '/y' does not exist"}),
        ("POST", "/v2/apps/y/restart", None, 404, {"message": "App '/y' does not exist"}),
        ("DELETE", "/v2/deployments/d", None, 404, {"message": "DeploymentPlan d does not exist"}),
        ("POST", "/v2/tasks/delete", {"ids": ["t"]}, 400, {"message": str}),
        ("GET", "/v2/apps/y", None, 404, {"message": "App '/y' does not exist"}),
        ("GET", "/v2/apps/x/versions/y", None, 404, {"message": "App '/x' does not exist in version y"}),
        ("DELETE", "/v2/info", None, 405, {"message": "Method Not Allowed"}),
        ("POST", "/v2/nothing", {}, 500, {"message": "URI not found"}),
    ],
)  # fmt: skip
def test_refuses_as_marathon_does(
    marathon: Asking, method: str, path: str, body: Any, status: int, told: dict[str, Any]
) -> None:
    marathon.post(X)
    answer = marathon.ask(method, path, body)
    content = answer.json()
    assert (answer.status_code, sorted(content)) == (status, sorted(told))
    assert answer.headers["Content-Type"] == "application/json"
    for key, wanted in told.items():
        assert isinstance(content[key], wanted) if isinstance(wanted, type) else content[key] == wanted
    for each in content["details"] if isinstance(content.get("details"), list) else []:
        assert (sorted(each), each["path"][0], bool(each["errors"])) == (["errors", "path"], "/", True)


class TestUpdating:
    def test_replaces_given_fields_whole_and_keeps_the_others(self, marathon: Asking) -> None:
        running(marathon, env={"A": "1", "B": "2"}, labels={"l": "1"})
        marathon.put("/x", {"env": {"A": "3"}})
        app = marathon.app("/x")
        assert (app["env"], app["labels"], app["cmd"]) == ({"A": "3"}, {"l": "1"}, "sleep 1")

    def test_replaces_all_if_it_is_not_partial(self, marathon: Asking) -> None:
        running(marathon, env={"A": "1"}, cpus=2)
        old = marathon.app("/x")["version"]
        marathon.put("/x", {"cmd": "sleep 2", "version": old}, partialUpdate=False)
        app = marathon.app("/x")
        assert (app["cmd"], app["cpus"], app.get("env")) == ("sleep 2", 1, None)

    def test_a_changed_config_has_new_times_and_a_scaled_app_keeps_one(self, marathon: Asking) -> None:
        running(marathon)
        first = marathon.app("/x")
        assert set(first["versionInfo"].values()) == {first["version"]}
        marathon.put("/x", {"instances": 2})
        scaled = marathon.app("/x")
        assert scaled["versionInfo"]["lastConfigChangeAt"] == first["version"] < scaled["version"]
        marathon.put("/x", {"cpus": 2}, force=True)
        changed = marathon.app("/x")
        assert set(changed["versionInfo"].values()) == {changed["version"]}
        assert changed["version"] > scaled["version"]

    def test_that_changes_nothing_is_a_deployment_that_nobody_ever_sees(self, marathon: Asking) -> None:
        running(marathon, networks=[{"mode": "container/bridge"}], container={"docker": {"image": "i"}})
        before = marathon.app("/x")
        fetched = {key: value for key, value in before.items() if key != "version"}
        for body in ({"cmd": "sleep 1"}, X | {"colour": "red"}, fetched, {"instances": 1}):
            answer = marathon.ask("PUT", "/v2/apps/x", body)
            assert answer.status_code == 200
            assert marathon.is_done(answer.json()["deploymentId"])
            assert answer.json()["version"] > before["version"]
        assert marathon.app("/x") == before

    def test_a_fetched_app_with_its_version_is_not_taken_back(self, marathon: Asking) -> None:
        running(marathon)
        answer = marathon.ask("PUT", "/v2/apps/x", marathon.app("/x"))
        told = "The 'version' field may only be combined with the 'id' field."
        assert answer.status_code == 422
        assert answer.json()["details"] == [{"path": "/", "errors": [told]}]


class TestVersions:
    def test_are_listed_newest_first_and_can_be_gone_back_to(self, marathon: Asking) -> None:
        running(marathon)
        first = marathon.app("/x")["version"]
        marathon.put("/x", {"cmd": "sleep 2"})
        second = marathon.app("/x")["version"]
        assert marathon.get("/v2/apps/x/versions") == {"versions": [second, first]}
        old = marathon.get(f"/v2/apps/x/versions/{first}")
        assert (old["cmd"], old["version"], "app" in old) == ("sleep 1", first, False)
        marathon.put("/x", {"version": first}, force=True)
        third = marathon.app("/x")
        assert (third["cmd"], third["version"] > second) == ("sleep 1", True)
        assert len(marathon.get("/v2/apps/x/versions")["versions"]) == 3

    def test_end_with_the_app(self, marathon: Asking) -> None:
        running(marathon)
        marathon.delete("/x")
        assert marathon.ask("GET", "/v2/apps/x/versions").status_code == 404
        marathon.post(X | {"cmd": "sleep 9"})
        assert len(marathon.get("/v2/apps/x/versions")["versions"]) == 1


class TestLocks:
    def test_tell_who_holds_them_and_force_takes_them(self, marathon: Asking) -> None:
        first = marathon.post(X)
        refused = marathon.ask("PUT", "/v2/apps/x", {"cpus": 2})
        assert refused.json()["deployments"] == [{"id": first}]
        assert marathon.app("/x")["cpus"] == 1
        second = marathon.put("/x", {"cpus": 2}, force=True)
        assert [plan["id"] for plan in marathon.get("/v2/deployments")] == [second]
        assert marathon.app("/x")["cpus"] == 2

    def test_hold_one_app_only(self, marathon: Asking) -> None:
        marathon.post(X)
        marathon.post(X | {"id": "/y"})
        assert len(marathon.get("/v2/deployments")) == 2

    def test_do_not_hold_a_deletion_unless_it_asks(self, marathon: Asking) -> None:
        marathon.post(X)
        assert marathon.ask("DELETE", "/v2/apps/x", force=False).status_code == 409
        marathon.wait(marathon.delete("/x"))
        assert marathon.get("/v2/deployments") == []

    def test_do_not_hold_what_changes_nothing(self, marathon: Asking) -> None:
        marathon.post(X)
        assert marathon.ask("PUT", "/v2/apps/x", {"cpus": 1}).status_code == 200

    def test_that_are_broken_by_a_new_app_of_the_same_name_leave_it_no_task(
        self, marathon: Asking, world: World
    ) -> None:
        running(marathon)
        old = world.apps["/x"].tasks[0]
        marathon.delete("/x")
        answer = marathon.ask("POST", "/v2/apps", X, force=True)
        assert answer.status_code == 201
        assert old.id not in marathon.running("/x")


class TestCancelling:
    def test_reverts_with_a_new_deployment(self, marathon: Asking) -> None:
        running(marathon)
        stuck = marathon.put("/x", {"cmd": "sleep 2"})
        answer = marathon.ask("DELETE", f"/v2/deployments/{stuck}")
        assert (answer.status_code, sorted(answer.json())) == (200, ["deploymentId", "version"])
        assert [plan["id"] for plan in marathon.get("/v2/deployments")] == [answer.json()["deploymentId"]]
        assert marathon.app("/x")["cmd"] == "sleep 1"

    def test_a_creation_removes_the_app(self, marathon: Asking) -> None:
        deployment = marathon.post(X)
        marathon.wait(marathon.ask("DELETE", f"/v2/deployments/{deployment}").json()["deploymentId"])
        assert marathon.ask("GET", "/v2/apps/x").status_code == 404

    def test_by_force_leaves_all_as_it_is(self, marathon: Asking) -> None:
        running(marathon)
        deployment = marathon.put("/x", {"cmd": "sleep 2"})
        answer = marathon.ask("DELETE", f"/v2/deployments/{deployment}", force=True)
        assert (answer.status_code, answer.content) == (202, b"")
        assert marathon.get("/v2/deployments") == []
        assert marathon.app("/x")["cmd"] == "sleep 2"


def test_a_restart_is_a_new_version_of_the_same(marathon: Asking) -> None:
    running(marathon)
    before = marathon.app("/x")
    answer = marathon.ask("POST", "/v2/apps/x/restart").json()
    after = marathon.app("/x")
    assert (after["version"], after["cmd"]) == (answer["version"], before["cmd"])
    assert marathon.get("/v2/deployments")[0]["steps"] == [{"actions": [{"action": "RestartApplication", "app": "/x"}]}]


class TestTasks:
    def test_that_are_killed_are_told_and_replaced(self, marathon: Asking, world: World) -> None:
        deployment = marathon.post(X | {"instances": 2})
        ids = [world.add_task("/x").id for _ in range(2)]
        marathon.wait(deployment)
        killed = marathon.ask("POST", "/v2/tasks/delete", {"ids": [ids[0], "gone.instance-1._app.1"]}).json()["tasks"]
        assert [task["id"] for task in killed] == ids[:1]
        assert [task["id"] for task in marathon.get("/v2/tasks")["tasks"]] == ids[1:]
        until(lambda: marathon.get("/v2/queue")["queue"], "another is wanted")
        assert marathon.get("/v2/queue")["queue"][0]["count"] == 1


class TestTheQueue:
    def test_without_agents_sees_no_offers(self, marathon: Asking) -> None:
        marathon.post(X | {"instances": 2})
        item = until(lambda: marathon.get("/v2/queue")["queue"], "something is wanted")[0]
        assert (item["app"]["id"], item["count"], item["role"]) == ("/x", 2, "*")
        assert item["delay"] == {"timeLeftSeconds": 0, "overdue": True}
        summary = item["processedOffersSummary"]
        assert (summary["processedOffersCount"], summary["unusedOffersCount"]) == (0, 0)
        assert {line["declined"] for line in summary["rejectSummaryLastOffers"]} == {0}

    def test_waits_after_tasks_that_ended_longer_and_longer(self, marathon: Asking, world: World) -> None:
        running(marathon, backoffSeconds=100, backoffFactor=2)
        ends = ("TASK_FAILED", 100), ("TASK_FINISHED", 200), ("TASK_FAILED", 300), ("TASK_KILLED", 300)
        for state, delay_s in ends:
            self.end_all(world, state)
            delay = self.delay(marathon)
            assert delay["overdue"] is False
            assert delay_s - 5 < delay["timeLeftSeconds"] <= delay_s
            world.add_task("/x")
        assert marathon.app("/x")["lastTaskFailure"]["message"] == "Container exited with status 1"

    def test_forgets_the_delay_of_an_earlier_version(self, marathon: Asking, world: World) -> None:
        running(marathon, backoffSeconds=100)
        self.end_all(world, "TASK_FAILED")
        marathon.put("/x", {"cpus": 2})
        assert self.delay(marathon)["overdue"] is True

    def end_all(self, world: World, state: str) -> None:
        for task in list(world.apps["/x"].tasks):
            world.end(task, state, "Container exited with status 1")

    def delay(self, marathon: Asking) -> dict[str, Any]:
        found = until(lambda: marathon.get("/v2/queue")["queue"], "another task is wanted")
        return dict(found[0]["delay"])


class TestAnotherMarathon:
    def test_does_what_the_leader_does(self, marathon: Asking) -> None:
        with Standin(marathon.standin.world) as standin:
            Asking(standin).post(X)
            assert marathon.app("/x")["id"] == "/x"

    @pytest.mark.parametrize("status", [502, 503])
    def test_may_have_a_page_for_an_answer(self, marathon: Asking, status: int) -> None:
        marathon.standin.filters.append(filters.html(status, "Too many concurrent requests! Allowed: 1."))
        answer = marathon.ask("POST", "/v2/apps", X)
        assert (answer.status_code, answer.headers["Content-Type"][:9]) == (status, "text/html")


def test_counts_no_task_as_healthy_without_checks(marathon: Asking, world: World) -> None:
    world.put_app(X | {"healthChecks": [{"protocol": "COMMAND"}]})
    world.put_app(X | {"id": "/y"})
    for app, alive in (("/x", True), ("/x", False), ("/y", None)):
        world.add_task(app, alive=alive)
    counted = [
        [marathon.app(app)[key] for key in ("tasksRunning", "tasksHealthy", "tasksUnhealthy")] for app in world.apps
    ]
    assert counted == [[2, 1, 1], [1, 0, 0]]


def test_lists_apps_by_any_part_of_their_ids_with_what_is_asked_for(marathon: Asking, world: World) -> None:
    world.put_app({"id": "/group/foobar", "cmd": "true"})
    world.fail("/group/foobar", "Container exited with status 1")
    for embed, more in (("tasks", {"tasks"}), ("lastTaskFailure", {"lastTaskFailure"}), ("x", set())):
        (found,) = marathon.get(f"/v2/apps?id=FOO&embed=apps.{embed}")["apps"]
        assert found.keys() & {"tasks", "lastTaskFailure"} == more
