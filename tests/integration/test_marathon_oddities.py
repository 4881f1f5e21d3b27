"""What Marathon answers and does otherwise than one would think, and what a deploy makes of it.

docs/marathon.md lists all such cases; those that one answer shows are here, over HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.apps.definitions import RUNTIME
from cluster.schedulers.marathon import following
from cluster.schedulers.marathon.api import Accepted, Api, Locked
from cluster.schedulers.marathon.following import Following
from cluster.schedulers.marathon.judgement import Goal
from scripts.errors import ClusterError
from scripts.marathon.discovery import discover
from tests.integration.marathon_rig import Rig, app, instances_come
from tests.refusing import refusal
from tests.standin import api, filters
from tests.standin.answers import Request, Response, as_json
from tests.standin.asking import Asking
from tests.standin.filters import Filter
from tests.standin.server import Standin
from tests.standin.world import World
from tests.waiting import until


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setattr(following, "POLL_S", 0.02)
    with Standin() as standin:
        yield Rig(standin)


@pytest.fixture
def world(rig: Rig) -> World:
    return rig.world


def to_changes(response: Response) -> Filter:
    """This answer to whoever wants to change something."""
    return lambda request: None if request.method == "GET" else response


class TestRefusals:
    def test_a_conflict_without_a_deployment_is_no_lock(self, rig: Rig) -> None:
        """409 also means that there is an app of this id, which no --force changes."""
        rig.standin.filters.append(to_changes(filters.message(409, "An app with id [/x] already exists.")))
        with pytest.raises(ClusterError, match=": 409 ") as refused:
            rig.deploy(app(), 10)
        assert not isinstance(refused.value, Locked)

    @pytest.mark.parametrize(
        ("status", "details", "words"),
        [
            (400, {"details": "Unexpected ('}'\n at [line: 1])"}, ": Unexpected ('}' at [line: 1])"),
            (422, {"details": [{"path": "/env/A", "errors": ["error.expected.jsstring"]}]}, ": /env/A: error.expected"),
            (422, {}, ""),
        ],
        ids=["a text", "a list", "none"],
    )
    def test_details_are_a_list_a_text_or_missing(
        self, rig: Rig, status: int, details: dict[str, Any], words: str
    ) -> None:
        rig.standin.filters.append(to_changes(as_json({"message": "Object is not valid"} | details, status)))
        found = refusal(rig.deploy, app(), 10)
        assert f": {status} " in found
        assert f"Object is not valid{words}" in found

    def test_a_page_that_wants_a_login_is_one_line(self, rig: Rig) -> None:
        page = filters.html(401, "Error 401 Unauthorized")
        rig.standin.filters.append(lambda request: page(request) if request.method == "PUT" else None)
        assert "MARATHON_USER" in refusal(rig.deploy, app(), 10)


class TestAnswers:
    def test_every_change_names_its_deployment_and_version(self, rig: Rig, world: World) -> None:
        """But a POST of a new app, which answers with the app: so an app is made as it is changed."""
        told = Api(rig.standin.address, 2, {})

        def there() -> Accepted:
            return Accepted(world.plans[-1].id, world.apps["/x"].version)

        assert told.put("/x", app().native, force=False) == there()
        assert told.put("/x", app(mem=65).native, force=True) == there()
        assert told.put("/x", {"instances": 2}, force=True, partial=True) == there()
        last = told.restart("/x", force=True)
        assert last == there()
        gone = told.delete("/x")
        assert (len(gone.deployment), gone.version > last.version) == (len(last.deployment), True)

    def test_fields_of_later_versions_do_no_harm(self, rig: Rig, world: World) -> None:
        rig.standin.filters.append(with_more_fields(rig))
        rig.put()
        rig.put(mem=65)
        with instances_come(world):
            assert rig.scale(2, 10).running == 2
            assert rig.rollback().running == 2
        assert world.apps["/x"].definition["mem"] == 64
        assert rig.marathon().status()[0].running == 2
        world.apps["/x"].tasks[0].ports = [31000]
        assert discover(rig.standin.address, "x", environ={}).port == 31000
        assert rig.marathon().stop("/x") is True

    def test_a_name_is_found_by_no_part_of_it(self, rig: Rig, world: World) -> None:
        """The filter `id=` of a list would find these as well."""
        for name in ("/xy", "/group/x"):
            world.put_app({"id": name, "cmd": "theirs"})
        assert rig.marathon().plan(app()).kind == "create"
        rig.put()
        assert rig.marathon().stop("/x") is True
        assert set(world.apps) == {"/xy", "/group/x"}

    def test_another_than_the_leader_passes_changes_on(self, rig: Rig, world: World) -> None:
        with Standin(world) as follower, instances_come(world):
            assert rig.deploy(app(), at=rig.marathon(addresses=follower.address)).running == 1
        assert rig.standin.requests == []


class TestDefinitions:
    def test_an_answer_is_not_sent_back_as_it_came(self, rig: Rig, world: World) -> None:
        """A `version` in an update is the one to go back to, and may come with nothing else."""
        rig.put()
        rig.put(mem=65)
        with instances_come(world):
            rig.rollback()
            rig.deploy(app(mem=66), 10, undo=True)
        changes = [request for request in rig.standin.requests if request.method == "PUT"]
        assert len(changes) == 4
        assert all(RUNTIME.isdisjoint(json.loads(request.body)) for request in changes)
        assert all(request.query["partialUpdate"] == ["false"] for request in changes)

    def test_one_that_was_fetched_from_marathon_is_no_rollback(self, rig: Rig, world: World) -> None:
        rig.put()
        fetched = Asking(rig.standin).app("/x")
        rig.put(**fetched | {"mem": 65, "lastTaskFailure": None})
        now = world.apps["/x"]
        assert (now.definition["mem"], now.version > fetched["version"]) == (65, True)
        rig.put(**Asking(rig.standin).app("/x"))
        assert len(rig.sent("PUT")) == 2

    def test_odd_forms_are_taken_as_they_are(self, rig: Rig, world: World) -> None:
        odd: dict[str, Any] = {
            "unreachableStrategy": "disabled",
            "constraints": [["hostname", "UNIQUE"]],
            "networks": [{"mode": "container/bridge"}],
            "container": {"docker": {"image": "x"}, "portMappings": [{"containerPort": 53, "protocol": "udp,tcp"}]},
        }
        rig.put(**odd)
        rig.put(**odd)
        assert len(rig.sent("PUT")) == 1
        world.apps["/x"].tasks.clear()
        world.queue.append({"app": world.apps["/x"].definition, "processedOffersSummary": REFUSED})
        (found,) = rig.marathon().status()
        assert "none is as the constraint says (hostname:UNIQUE)" in found.instances[0].detail
        change = rig.marathon().plan(app(**odd | {"unreachableStrategy": {"inactiveAfterSeconds": 5}}))
        assert change.differences == ('unreachableStrategy: "disabled" -> {"inactiveAfterSeconds": 5}',)

    def test_a_number_in_env_is_refused_with_its_name(self, rig: Rig, world: World) -> None:
        words = refusal(rig.deploy, app(env={"A": 1}), 10)
        assert words.startswith("/x is refused: ")
        assert words.endswith("/env/A: error.expected.jsstring")
        assert world.apps == {}


REFUSED = {"rejectSummaryLastOffers": [{"reason": "UnfulfilledConstraint", "declined": 1, "processed": 1}]}


def test_a_stop_takes_the_lock_of_a_deployment(rig: Rig, world: World) -> None:
    """A DELETE is forced unless it says otherwise: that is said, and needs no --force."""
    rig.deploy(app(), wait=False)
    assert rig.marathon().stop("/x") is True
    (deletion,) = (request for request in rig.standin.requests if request.method == "DELETE")
    assert deletion.query["force"] == ["true"]
    assert (world.apps, world.plans) == ({}, [])


def with_more_fields(rig: Rig) -> Filter:
    """A Marathon of a later version: every object in its answers has fields that nobody knows yet."""

    def answer(request: Request) -> Response:
        found = api.answer(rig.world, request)
        return as_json(_more(json.loads(found.body)), found.status)

    return answer


def _more(content: Any) -> Any:
    if isinstance(content, dict):
        known = {key: value if key in ("env", "labels") else _more(value) for key, value in content.items()}
        return known | {"newer": {"a": [None, 1]}, "newest": None}
    return [_more(one) for one in content] if isinstance(content, list) else content


class TestStandstill:
    """A replacement that Marathon would not go on with: it ends of its own accord what is healthy alone."""

    ALONE: dict[str, Any] = {"upgradeStrategy": {"minimumHealthCapacity": 0, "maximumOverCapacity": 0}}  # noqa: RUF012

    def sick(self, world: World) -> str:
        """The app's one task is not healthy any more; its id."""
        (task,) = world.apps["/x"].tasks
        task.results = [world.health_result(task, alive=False)]
        return task.id

    def ended(self, rig: Rig) -> list[str]:
        """The tasks that we told Marathon to end."""
        changes = [request for request in rig.standin.requests if request.path == "/v2/tasks/delete"]
        return [task for request in changes for task in json.loads(request.body)["ids"]]

    def test_an_instance_with_data_that_is_not_healthy_makes_way(self, rig: Rig, world: World) -> None:
        rig.put(**self.ALONE)
        old = self.sick(world)
        with instances_come(world):
            (new,) = rig.deploy(app(mem=65, **self.ALONE), 10).instances
        assert (self.ended(rig), new.name == old) == ([old], False)
        assert rig.said == ["the old instance of /x on 127.0.0.1 was not healthy, and is ended for the new one"]

    def test_so_it_does_for_a_restart(self, rig: Rig, world: World) -> None:
        rig.put(**self.ALONE)
        old = self.sick(world)
        with instances_come(world):
            (new,) = rig.restart().instances
        assert (self.ended(rig), new.name == old) == ([old], False)

    def test_also_when_it_recovers_meanwhile(self, rig: Rig, world: World) -> None:
        """Marathon has counted when the deployment began."""
        rig.put(**self.ALONE)
        old = self.sick(world)
        present = Asking(rig.standin).app("/x")
        rig.deploy(app(mem=65, **self.ALONE), wait=False)
        (task,) = world.apps["/x"].tasks
        task.results = [world.health_result(task, alive=True)]
        accepted = Accepted(world.plans[0].id, world.plans[0].version)
        goal = Goal(app(mem=65, **self.ALONE).native, accepted.deployment, accepted.version, present)
        with instances_come(world):
            Following(Api(rig.standin.address, 2, {}), goal, rig.said.append, len).follow(10)
        assert self.ended(rig) == [old]

    def test_one_that_is_healthy_is_marathons_to_end(self, rig: Rig, world: World) -> None:
        rig.put(**self.ALONE)
        rig.put(mem=65, **self.ALONE)
        assert self.ended(rig) == []

    def test_where_new_ones_find_room_beside_them_the_old_are_left_at_work(self, rig: Rig, world: World) -> None:
        rig.put()
        self.sick(world)
        rig.put(mem=65)
        assert self.ended(rig) == []

    def test_one_that_never_found_an_agent_keeps_the_place_until_a_stop(self, rig: Rig, world: World) -> None:
        rig.put(**self.ALONE)
        rig.deploy(app(mem=10**6, **self.ALONE), wait=False)
        until(lambda: Asking(rig.standin).get("/v2/queue")["queue"], "an instance waits for an agent")
        with instances_come(world, fits=lambda definition: definition["mem"] < 1000):
            words = refusal(rig.deploy, app(mem=65, labels={"tag": "x:v2"}, **self.ALONE), 0.3, force=True)
            assert "0 of 1 instances up" in words
            assert f"./inv worker.stop -m {rig.standin.address} --app /x" in words
            rig.marathon().stop("/x")
            assert rig.deploy(app(mem=65, **self.ALONE), 10).running == 1

    def test_a_rollback_by_itself_stops_such_a_one(self, rig: Rig, world: World) -> None:
        rig.put(**self.ALONE)
        with instances_come(world, fits=lambda definition: definition["mem"] < 1000):
            assert "rolled back: 1 of 1 " in refusal(rig.deploy, app(mem=10**6, **self.ALONE), 0.3, undo=True)
        assert world.apps["/x"].definition["mem"] == 64

    def test_what_is_left_at_work_without_room_says_how_to_end_it(self, rig: Rig, world: World) -> None:
        rig.put()
        self.sick(world)
        assert f"./inv worker.stop -m {rig.standin.address} --app /x" in refusal(rig.deploy, app(mem=65), 0.3)
