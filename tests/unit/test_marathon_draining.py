"""Which tasks are to finish what they run."""

import pytest

from cluster.schedulers.marathon.draining import first_to_go

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
