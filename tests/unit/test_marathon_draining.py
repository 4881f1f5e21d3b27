"""Which tasks are to finish what they run."""

from contextlib import nullcontext

import pytest

from cluster.schedulers.marathon import agents
from cluster.schedulers.marathon.agents import Draining, first_to_go
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
