"""Which tasks stand in the way of a change: what is to finish its work, and what Marathon would leave there."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from cluster.schedulers.marathon import agents
from cluster.schedulers.marathon.agents import Draining, first_to_go
from cluster.schedulers.marathon.judgement import in_the_way, leaves_no_room, never_placed, waits_for_the_new
from scripts.errors import ServiceAway

TASKS = [
    {"id": "old", "startedAt": "2020-01-01T00:00:00.000Z"},
    {"id": "young", "startedAt": "2020-01-03T00:00:00.000Z"},
    {"id": "middle", "startedAt": "2020-01-02T00:00:00.000Z"},
    {"id": "staged"},
]


@pytest.mark.parametrize(
    ("selection", "instances", "goes"),
    [
        (None, 3, {"staged"}),
        ("YOUNGEST_FIRST", 2, {"staged", "young"}),
        ("OLDEST_FIRST", 2, {"old", "middle"}),
        (None, 4, set()),
        (None, 9, set()),
        (None, 0, {"old", "young", "middle", "staged"}),
    ],
)
def test_the_youngest_go_first_unless_the_app_says_otherwise(selection, instances, goes):
    assert first_to_go({"tasks": TASKS, "killSelection": selection}, instances) == goes


def test_an_app_without_tasks_has_none_to_go():
    assert first_to_go({"tasks": None}, 0) == set()


class InElection:
    """Knows a task at first, is away for one question, and then knows that it is gone."""

    def __init__(self):
        self.answers = [{"old"}, ServiceAway("in an election"), set()]

    def task_ids(self, app_id):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_a_marathon_that_is_away_for_a_moment_is_asked_again(monkeypatch):
    monkeypatch.setattr(agents, "POLL_S", 0.01)
    api, said = InElection(), []
    app = {"id": "/app", "labels": {"drain": "60"}, "tasks": TASKS[:1]}
    Draining(api, lambda: nullcontext([]), said.append).let_finish(app)
    assert (api.answers, said) == ([], [])


OLD, NEW = "2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z"


def task(name: str = "t", alive: bool | None = True, version: str = OLD, **fields: Any) -> dict[str, Any]:
    results = [] if alive is None else [{"alive": alive}]
    known = {"id": name, "state": "TASK_RUNNING", "startedAt": version, "version": version}
    return known | {"healthCheckResults": results} | fields


def app(*tasks: dict[str, Any], least: float = 0, over: float = 0, changed: str = NEW, **fields: Any) -> Any:
    strategy = {"minimumHealthCapacity": least, "maximumOverCapacity": over}
    return {
        "id": "/x", "instances": 1, "tasks": list(tasks), "healthChecks": [{}], "upgradeStrategy": strategy,
        "versionInfo": {"lastConfigChangeAt": changed},
    } | fields  # fmt: skip


def before(*tasks: dict[str, Any]) -> Any:
    return app(*tasks, changed=OLD)


@pytest.mark.parametrize(
    ("then", "now", "ids"),
    [
        (task(alive=True), task(alive=True), []),
        (task(alive=True), task(alive=False), []),
        (task(alive=False), task(alive=False), ["t"]),
        (task(alive=None), task(alive=True), ["t"]),
        (task(alive=False), task(alive=False, version=NEW), []),
        (task(alive=False), task(alive=False, state="TASK_KILLING"), []),
    ],
    ids=["healthy", "ends", "unhealthy", "starts", "new", "ends and says so"],
)
def test_one_that_was_not_healthy_when_the_change_began(then: Any, now: Any, ids: list[str]) -> None:
    assert [found["id"] for found in in_the_way(app(now), before(then))] == ids


@pytest.mark.parametrize(("least", "over"), [(1, 1), (0.5, 1), (0, 1), (0.5, 0), (1, 0)])
def test_none_where_there_is_room_or_some_shall_be_healthy(least: float, over: float) -> None:
    sick = task(alive=False)
    assert in_the_way(app(sick, least=least, over=over), before(sick)) == []


def test_a_definition_without_a_strategy_has_marathons_own() -> None:
    assert not leaves_no_room({"instances": 1})
    assert not leaves_no_room({"instances": 1, "upgradeStrategy": None})
    assert leaves_no_room({"instances": 3, "upgradeStrategy": {"maximumOverCapacity": 0.2}})


def test_one_that_never_found_an_agent_is_no_task() -> None:
    assert never_placed(app())
    assert not never_placed(app(task()))
    assert not never_placed(app(healthChecks=[]))
    assert not never_placed(app(over=1))


def test_old_ones_wait_for_the_new_while_none_of_all_is_healthy() -> None:
    def waits(*tasks: dict[str, Any], **strategy: float) -> bool:
        return waits_for_the_new(app(*tasks, **({"least": 0.5, "over": 1} | strategy)))

    assert waits(task(alive=False), task(alive=None))
    assert waits(task(alive=False), over=0)
    assert not waits(task(alive=False), task(alive=True))
    assert not waits(task(alive=False), task(alive=False, version=NEW))
    assert not waits()
    assert not waits(task(alive=False), least=0, over=0)
