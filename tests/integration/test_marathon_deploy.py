"""Deploys to Marathon, with what goes wrong: each ends in one line that says what, and what can be done."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from cluster import schedulers
from cluster.credentials import SecretFile
from cluster.operations import operate
from cluster.operations.operate import Target, undone_on_failure
from cluster.schedulers import DeployOptions
from cluster.schedulers.marathon import following
from cluster.schedulers.marathon.api import Api
from cluster.schedulers.marathon.scheduler import Marathon
from scripts.errors import ClusterError, ServiceAway
from tests.integration.marathon_rig import Rig, app, instances_come, losing_answers
from tests.refusing import refusal
from tests.standin import filters
from tests.standin.answers import Request, Response, as_json
from tests.standin.asking import Asking
from tests.standin.server import Standin
from tests.standin.world import World


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setattr(following, "POLL_S", 0.02)
    monkeypatch.setattr(following, "SETTLE_S", 0.3)
    monkeypatch.setattr("cluster.schedulers.marathon.api._PAUSE_S", 0.02)
    with Standin() as standin:
        yield Rig(standin)


@pytest.fixture
def world(rig: Rig) -> World:
    return rig.world


class TestChanging:
    def test_what_the_file_has_no_longer_goes(self, rig: Rig, world: World) -> None:
        """By default a PUT merges."""
        rig.put(env={"A": "1"}, taskKillGracePeriodSeconds=7)
        change = rig.marathon().plan(app(mem=65))
        assert (change.kind, change.differences) == (
            "replace",
            ('env.A: "1" -> nothing', "mem: 64 -> 65", "taskKillGracePeriodSeconds: 7 -> nothing"),
        )
        rig.put(mem=65)
        assert {"env", "taskKillGracePeriodSeconds"}.isdisjoint(world.apps["/x"].definition)

    def test_options_of_docker_that_cannot_be_read_are_refused_before_anything_is_sent(self, rig: Rig) -> None:
        spec = replace(app(), engine_options=(("shm-size", "big"),))
        assert "/x: the container option shm-size is 'big'" in refusal(rig.deploy, spec)
        assert rig.sent("PUT") == []

    def test_nothing_is_sent_when_nothing_differs(self, rig: Rig, world: World) -> None:
        rig.put()
        rig.put()
        assert len(rig.sent("PUT")) == 1

    def test_without_agents_it_is_said_how_long_actions_have(self, rig: Rig, world: World) -> None:
        worker = {"labels": {"drain": "600"}, "taskKillGracePeriodSeconds": 80, "instances": 2}
        rig.put(**worker)
        rig.said.clear()
        rig.scale(1)
        (line,) = rig.said
        assert "agents.hosts" in line
        assert "80 s" in line

    def test_what_marathon_takes_for_the_same_is_done_at_once(self, rig: Rig, world: World) -> None:
        """The deployment of a change that changes nothing is never listed."""
        rig.put(labels={"a": "1"})
        world.apps["/x"].definition["labels"]["a"] = "2"
        rig.put(labels={"a": "1"})
        world.apps["/x"].definition["somethingNew"] = {"a": 1}
        rig.put(labels={"a": "1"})
        assert world.plans == []

    def test_instances_are_what_is_running_of_this_version(self, rig: Rig, world: World) -> None:
        rig.put(instances=3)
        with instances_come(world):
            status = rig.deploy(app(instances=2, mem=65), 10)
        assert (status.running, len(status.instances)) == (2, 2)

    def test_instances_that_come_while_workers_finish_what_they_run_stay(self, rig: Rig, world: World) -> None:
        labels = {"drain": "60"}
        rig.put(labels=labels)

        @contextmanager
        def scaled_by_a_colleague() -> Iterator[list[Any]]:
            rig.scale(3, 10)
            yield []

        marathon = Marathon(Api(rig.standin.address, 20, {}), rig.settings, rig.said.append, scaled_by_a_colleague)
        with instances_come(world):
            status = rig.deploy(app(mem=65, labels=labels), at=marathon)
        assert (status.running, world.apps["/x"].definition["mem"]) == (3, 65)
        assert "/x was scaled to 3 meanwhile, which stays" in rig.said

    def test_without_waiting_it_returns_when_marathon_has_taken_it_on(self, rig: Rig, world: World) -> None:
        status = rig.deploy(app(), 10, wait=False)
        assert (status.running, len(world.plans)) == (0, 1)

    def test_a_version_before_1_5_is_refused_by_name(self, rig: Rig) -> None:
        old = as_json({"version": "1.4.9"})
        rig.standin.filters.append(lambda request: old if request.path == "/v2/info" else None)
        assert "1.4.9" in refusal(rig.deploy, app())

    def test_what_someone_else_deployed_is_left_alone(self, rig: Rig, world: World) -> None:
        world.put_app({"id": "/x", "cmd": "theirs"})
        for change in (lambda: rig.deploy(app()), lambda: rig.marathon().stop("/x"), rig.restart):
            assert "/x: " in refusal(change)
        assert "--" not in refusal(rig.marathon().stop, "/x")  # no flag of stop helps
        rig.deploy(app(), at=rig.marathon(project="theirs"), force=True, wait=False)
        assert "'theirs'" in refusal(rig.marathon().plan, app())
        assert rig.marathon().status() == []


class TestRefusal:
    def test_of_a_locked_app_names_the_deployment_and_since_when(self, rig: Rig, world: World) -> None:
        rig.deploy(app(), wait=False)
        plan = world.plans[0]
        words = refusal(rig.deploy, app(mem=65), 10)
        assert [name for name in ("/x ", plan.id, plan.version, "--force") if name not in words] == []
        assert world.plans == [plan]

    def test_of_a_locked_app_is_overcome_by_force(self, rig: Rig, world: World) -> None:
        rig.put()
        rig.deploy(app(mem=65), wait=False)
        with instances_come(world):
            assert rig.deploy(app(mem=66), 10, force=True).running == 1
        assert world.apps["/x"].definition["mem"] == 66

    def test_of_a_locked_app_comes_before_anything_is_put_on_the_hosts(self, rig: Rig, world: World) -> None:
        rig.deploy(app(), wait=False)
        secret = SecretFile("worker", "password", b"x", 1000)  # there is no host to put it on
        assert "/x is locked" in refusal(rig.deploy, replace(app(mem=65), secret_files=(secret,)))
        assert "agents.hosts" in refusal(rig.deploy, replace(app(mem=65), secret_files=(secret,)), force=True)
        assert rig.marathon().plan(app(), DeployOptions()).kind == "nothing"

    def test_by_a_web_page_is_one_line(self, rig: Rig) -> None:
        rig.standin.filters.append(filters.html(503, "Too many concurrent requests! Allowed: 1."))
        assert ": 503 " in refusal(rig.deploy, app(), 10, by=ServiceAway)

    def test_of_further_deployments_is_not_taken_for_wrong_credentials(self, rig: Rig) -> None:
        limit = "Max number (100) of running deployments is achieved. Wait for existing deployments to complete"
        full = filters.message(403, limit)
        rig.standin.filters.append(lambda request: full if request.method == "PUT" else None)
        assert "403 Forbidden: Max number (100)" in refusal(rig.deploy, app(), 10)


class TestLostAnswer:
    def test_of_a_change_that_was_made_is_not_sent_again(self, rig: Rig, world: World) -> None:
        rig.standin.filters.append(losing_answers(rig, "PUT", times=1, obeys=True))
        rig.put()
        assert len(rig.sent("PUT")) == 1
        assert "the answer was lost" in rig.said[0]

    def test_of_a_change_that_was_not_made_is_sent_again(self, rig: Rig) -> None:
        rig.standin.filters.append(losing_answers(rig, "PUT", times=1, obeys=False))
        rig.put()
        assert len(rig.sent("PUT")) == 2

    def test_again_and_again_is_an_error_that_says_so(self, rig: Rig, world: World) -> None:
        rig.standin.filters.append(losing_answers(rig, "PUT", times=9, obeys=False))
        assert "504 " in refusal(rig.deploy, app(), 10, by=ServiceAway)
        assert (len(rig.sent("PUT")), world.apps) == (3, {})

    def test_of_a_restart_starts_nothing_twice(self, rig: Rig, world: World) -> None:
        rig.put()
        first = world.apps["/x"].tasks[0].id
        rig.standin.filters.append(losing_answers(rig, "POST", times=1, obeys=True))
        with instances_come(world):
            (instance,) = rig.restart().instances
        assert (len(rig.sent("POST")), instance.name == first) == (1, False)

    def test_of_a_stop_is_no_error(self, rig: Rig, world: World) -> None:
        rig.put()
        rig.standin.filters.append(losing_answers(rig, "DELETE", times=1, obeys=True))
        assert rig.marathon().stop("/x") is True
        assert world.apps == {}

    def test_and_then_no_answer_at_all_says_what_may_have_been(self, rig: Rig, world: World) -> None:
        lose = losing_answers(rig, "PUT", times=1, obeys=True)

        def lose_and_leave(request: Request) -> Response | None:
            lost = lose(request)
            if lost:
                rig.standin.filters.append(filters.no_leader)
            return lost

        rig.standin.filters.append(lose_and_leave)
        assert "it may have changed /x" in refusal(rig.deploy, app(), 10, by=ServiceAway)
        assert "/x" in world.apps


class TestAddresses:
    def test_that_do_not_answer_are_passed_over(self, rig: Rig, world: World) -> None:
        with instances_come(world):
            addresses = f"127.0.0.1:1,{rig.standin.address}"
            assert rig.deploy(app(), at=rig.marathon(addresses=addresses)).running == 1
        assert len(rig.sent("PUT")) == 1

    def test_a_redirect_of_a_change_is_not_followed(self, rig: Rig, world: World) -> None:
        elsewhere = filters.redirect("http://127.0.0.1:1")
        rig.standin.filters.append(lambda request: elsewhere(request) if request.method == "PUT" else None)
        assert "http://127.0.0.1:1" in refusal(rig.deploy, app(), 10)

    def test_marathon_may_be_away_for_a_while(self, rig: Rig, world: World) -> None:
        begun = rig.begun(lambda: rig.deploy(app(), 10))
        rig.standin.filters.append(filters.no_leader)
        asked = len(rig.standin.requests)
        while len(rig.standin.requests) < asked + 5:
            begun.thread.join(0.01)
        rig.standin.filters.clear()
        with instances_come(world):
            begun.end()
        assert begun.status is not None

    def test_marathon_that_stays_away_leaves_the_way_back_to_the_user(self, rig: Rig) -> None:
        rig.put()
        begun = rig.begun(lambda: rig.deploy(app(mem=65), 0.5, undo=True))
        rig.standin.filters.append(filters.no_leader)
        begun.end()
        assert begun.error.endswith(f"./inv worker.rollback -m {rig.standin.address} --app /x --force")


class TestFollowing:
    def test_a_deployment_that_never_ends_ends_here_with_the_reason(self, rig: Rig) -> None:
        words = refusal(rig.deploy, app(instances=2), 0.3)
        assert words.startswith("deploy /x: not done after 0.3 s: step ")
        assert "0 of 2 instances up" in words
        assert words.endswith(f"./inv worker.stop -m {rig.standin.address} --app /x")

    def test_what_is_waited_for_is_said_after_a_while(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(schedulers, "SILENCE_S", 0.1)
        refusal(rig.deploy, app(), 0.4)
        (line,) = rig.said
        assert line.startswith("waiting for /x, 0.4 s at most: ")

    def test_a_failure_of_before_is_not_told(self, rig: Rig, world: World) -> None:
        rig.put()
        world.fail("/x", "Container exited with status 99")
        begun = rig.begun(lambda: rig.deploy(app(mem=65), 0.3))
        begun.end()
        assert "status 99" not in begun.error + "".join(rig.said)

    def test_a_failure_before_a_scaling_is_not_told_either(self, rig: Rig, world: World) -> None:
        """The version that it is of stays the present configuration."""
        rig.put()
        world.fail("/x", "Container exited with status 99")
        words = refusal(rig.scale, 2, 0.3)
        assert "status 99" not in words + "".join(rig.said)
        assert words.endswith(f"./inv worker.scale -m {rig.standin.address} --app /x --instances 1 --force")

    def test_instances_that_fail_one_after_the_other_end_it_early(self, rig: Rig, world: World) -> None:
        begun = rig.begun(lambda: rig.deploy(app(), 60))
        for status in (1, 2, 3):
            world.fail("/x", f"Container exited with status {status}")
            while begun.thread.is_alive() and not any(f"status {status}" in line for line in rig.said):
                begun.thread.join(0.01)
        begun.end()
        assert "agent1: Container exited with status 1" in rig.said[0]
        assert begun.error.startswith("deploy /x: 3 instances ended ")
        assert f"./inv worker.logs -m {rig.standin.address} --app /x" in begun.error

    def test_one_that_was_cancelled_is_a_failure(self, rig: Rig, world: World) -> None:
        begun = rig.begun(lambda: rig.deploy(app(), 60))
        ended = Asking(rig.standin).ask("DELETE", f"/v2/deployments/{world.plans[0].id}", force=True)
        begun.end()
        assert (ended.status_code, ended.content) == (202, b"")
        assert "the deployment is over, and 0 of 1 instances up" in begun.error

    def test_one_that_was_reverted_is_a_failure(self, rig: Rig, world: World) -> None:
        rig.put()
        begun = rig.begun(lambda: rig.deploy(app(mem=65), 60))
        Asking(rig.standin).ask("DELETE", f"/v2/deployments/{world.plans[0].id}")
        begun.end()
        assert "the deployment was reverted meanwhile" in begun.error

    def test_one_whose_creation_was_reverted_is_a_failure(self, rig: Rig, world: World) -> None:
        begun = rig.begun(lambda: rig.deploy(app(), 60))
        Asking(rig.standin).ask("DELETE", f"/v2/deployments/{world.plans[0].id}")
        begun.end()
        assert "the app is gone" in begun.error
        assert "nothing of it runs now" in begun.error

    def test_one_that_was_replaced_is_a_failure_that_names_the_other(self, rig: Rig, world: World) -> None:
        begun = rig.begun(lambda: rig.deploy(app(), 60))
        rig.deploy(app(mem=66), force=True, wait=False)
        begun.end()
        assert f"replaced meanwhile by the deployment {world.plans[0].id}" in begun.error

    def test_an_app_that_was_scaled_meanwhile_is_followed(self, rig: Rig, world: World) -> None:
        begun = rig.begun(lambda: rig.deploy(app(), 60))
        rig.scale(2, force=True, wait=False)
        with instances_come(world):
            begun.end()
        assert begun.status is not None
        assert begun.status.running == 2


class TestGoingBack:
    def test_is_to_the_newest_version_that_differs(self, rig: Rig, world: World) -> None:
        rig.put(mem=65)
        rig.put(mem=66, env={"A": "1"})
        with instances_come(world):
            rig.scale(3, 10)
            status = rig.rollback()
        assert status.running == 3
        assert (world.apps["/x"].definition["mem"], "env" in world.apps["/x"].definition) == (65, False)

    def test_is_to_the_version_that_is_named(self, rig: Rig, world: World) -> None:
        for mem in (65, 66, 67):
            rig.put(mem=mem)
        oldest = min(world.apps["/x"].history)
        with instances_come(world):
            rig.rollback(oldest)
        assert world.apps["/x"].definition["mem"] == 65
        assert "'2001-01-01T00:00:00.000Z'" in refusal(rig.rollback, "2001-01-01T00:00:00.000Z")

    def test_from_the_first_version_is_refused(self, rig: Rig) -> None:
        rig.put()
        assert "/x has no earlier version" in refusal(rig.rollback)

    def test_data_stays_on_its_agent(self, rig: Rig, world: World) -> None:
        volumes = [{"containerPath": "/d", "hostPath": "/var/lib/cluster/d", "mode": "RW"}]
        container = {"type": "DOCKER", "docker": {"image": "x"}, "volumes": volumes}
        for mem, host in ((65, "agent1"), (66, "agent2")):
            rig.put(container=container, constraints=[["hostname", "CLUSTER", host]], mem=mem)
        with instances_come(world):
            rig.rollback()
        found = world.apps["/x"].definition
        assert (found["mem"], found["constraints"]) == (65, [["hostname", "CLUSTER", "agent2"]])

    def test_comes_by_itself_after_a_failure_when_wanted(self, rig: Rig, world: World) -> None:
        rig.put(instances=2)
        with instances_come(world, wanted=2):
            assert "rolled back: 2 of 2 " in refusal(rig.deploy, app(instances=3, mem=65), 0.5, undo=True)
        assert (world.apps["/x"].definition["mem"], world.plans) == (64, [])

    def test_comes_also_after_a_change_of_what_only_marathon_knows(self, rig: Rig, world: World) -> None:
        rig.put()
        fits: dict[str, Any] = {"constraints": [["rack", "GROUP_BY"]]}
        with instances_come(world, fits=lambda definition: "constraints" not in definition):
            assert "rolled back: 1 of 1" in refusal(rig.deploy, app(**fits), 0.3, undo=True)
        assert "constraints" not in world.apps["/x"].definition

    def test_that_fails_too_hides_nothing(self, rig: Rig, world: World) -> None:
        rig.put()
        left = [1]

        def refuse_the_second(request: Request) -> Response | None:
            left[0] -= request.method == "PUT"
            return filters.message(500, "no") if left[0] < 0 and request.method == "PUT" else None

        rig.standin.filters.append(refuse_the_second)
        words = refusal(rig.deploy, app(mem=65), 0.2, undo=True)
        assert words.startswith("deploy /x: not done ")
        assert "could not be rolled back: /x" in words

    def test_leaves_what_someone_else_deployed_meanwhile(self, rig: Rig, world: World) -> None:
        rig.put()
        begun = rig.begun(lambda: rig.deploy(app(mem=65), 60, undo=True))
        rig.deploy(app(mem=66), force=True, wait=False)
        begun.end()
        assert "replaced meanwhile" in begun.error
        assert "rolled back" not in begun.error
        assert (world.apps["/x"].definition["mem"], len(world.plans)) == (66, 1)

    def test_leaves_what_someone_else_deploys_at_the_moment(self, rig: Rig, world: World) -> None:
        rig.put()
        before = rig.marathon().present("/x")
        change = rig.marathon().plan(app(mem=65))
        rig.deploy(app(mem=66), wait=False)
        with (
            pytest.raises(ClusterError, match=r"^/x is locked by the deployment .*with --force$"),
            undone_on_failure(rig.marathon(), "/x", before, rig.said.append),
        ):
            rig.marathon().apply(change, DeployOptions(undo=True))
        assert (world.apps["/x"].definition["mem"], len(world.plans)) == (66, 1)

    def test_to_the_version_that_runs_is_no_going_back(self, rig: Rig) -> None:
        rig.put()
        rig.put(mem=65)
        said: list[str] = []
        operate.rollback(Target("/x", rig.marathon()), next(rig.marathon().history("/x"))[0], said.append)
        assert "nothing changes" in said[0]
        assert not any("rolled back" in line for line in said)

    def test_shows_the_versions_in_a_dry_run_also_where_none_differs(self, rig: Rig) -> None:
        rig.put()
        said: list[str] = []
        with pytest.raises(ClusterError, match="no earlier version that differs"):
            operate.rollback_dry_run(Target("/x", rig.marathon()), "", said.append)
        assert said[0].startswith(next(rig.marathon().history("/x"))[0])

    def test_asks_for_each_version_once(self, rig: Rig) -> None:
        for mem in (65, 66, 67):
            rig.put(mem=mem)
        rig.standin.requests.clear()
        operate.rollback_dry_run(Target("/x", rig.marathon()), "", rig.said.append)
        asked = [request.path for request in rig.standin.requests if "/versions" in request.path]
        assert len(asked) == len(set(asked)) == 4

    def test_leaves_to_others_what_was_taken_over_from_them(self, rig: Rig, world: World) -> None:
        world.put_app({"id": "/x", "cmd": "theirs", "labels": {"owner": "them"}})
        with (
            instances_come(world, fits=lambda definition: definition["cmd"] == "theirs"),
            pytest.raises(ClusterError, match="rolled back"),
        ):
            rig.deploy(app(), 0.3, force=True, undo=True)
        assert world.apps["/x"].definition["labels"] == {"owner": "them"}
        with pytest.raises(ClusterError, match="was not deployed with these tasks"):
            rig.marathon().stop("/x")

    def test_of_a_first_deploy_is_to_stop_it(self, rig: Rig, world: World) -> None:
        assert "rolled back: " in refusal(rig.deploy, app(), 0.2, undo=True)
        assert (world.apps, world.plans) == ({}, [])


def test_two_deploys_at_once_leave_one_of_them(rig: Rig, world: World) -> None:
    ends: list[Any] = []

    def deploy(mem: int) -> None:
        try:
            ends.append(rig.deploy(app(mem=mem), 10))
        except ClusterError as error:
            ends.append(str(error))

    threads = [threading.Thread(target=deploy, args=[mem]) for mem in (65, 66)]
    for thread in threads:
        thread.start()
    while len(ends) < 1:
        threads[0].join(0.02)
        threads[1].join(0.02)
        if world.plans and len(rig.sent("PUT")) == 2:
            break
    with instances_come(world):
        for thread in threads:
            thread.join()
    assert sorted(type(end).__name__ for end in ends) == ["AppStatus", "str"]
    assert "locked by the deployment" in next(end for end in ends if isinstance(end, str))


def test_a_stop_that_grants_no_time_needs_the_agents_and_does_nothing_without(rig: Rig, world: World) -> None:
    rig.put()
    assert "agents.hosts" in refusal(rig.marathon().stop, "/x", now=True)
    assert "/x" in world.apps


def test_a_stop_waits_until_instances_have_ended(rig: Rig, world: World) -> None:
    rig.put()
    assert rig.marathon().stop("/x") is True
    assert (world.apps, world.plans, list(world.tasks())) == ({}, [], [])
    assert rig.marathon().stop("/x") is False
