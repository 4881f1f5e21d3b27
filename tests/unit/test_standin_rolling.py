"""How the stand-in for Marathon replaces tasks: the numbers of TaskReplaceActor's own tests."""

from __future__ import annotations

from typing import Any

import pytest

from tests.standin.rolling import Moves, Roll, Seen, begin_roll, keep, roll_on, still_unplaced


def app(instances: int, least: float = 1, over: float = 1) -> dict[str, Any]:
    strategy = {"minimumHealthCapacity": least, "maximumOverCapacity": over}
    return {"instances": instances, "upgradeStrategy": strategy, "killSelection": "YOUNGEST_FIRST"}


def tasks(*names: str, healthy: bool = True) -> list[Seen]:
    return [Seen(name, healthy, started_at=name) for name in names]


@pytest.mark.parametrize(
    ("wanted", "healthy", "unhealthy", "at_once", "most"),
    [
        (app(10), 10, 0, 0, 20),
        (app(10, 0.5, 0), 10, 0, 5, 10),
        (app(5, 0.5, 0), 5, 0, 2, 5),
        (app(10, 0, 0), 10, 0, 10, 10),
        (app(5, 1, 0.1), 5, 0, 0, 6),
        (app(5, 1, 0), 5, 0, 0, 6),
        (app(5, 1, 0), 4, 1, 0, 5),
        (app(1, 1, 0), 1, 0, 0, 2),
        (app(2), 4, 0, 2, 4),
    ],
)
def test_begins_with_this_many_deaths_and_this_much_room(
    wanted: dict[str, Any], healthy: int, unhealthy: int, at_once: int, most: int
) -> None:
    present = tasks(*(f"h{n}" for n in range(healthy)))
    present += tasks(*(f"u{n}" for n in range(unhealthy)), healthy=False)
    roll = begin_roll(wanted, present)
    assert (roll.kill_at_once, roll.max_capacity) == (at_once, most)
    assert [name[0] for name in roll.old[:unhealthy]] == ["u"] * unhealthy


def test_with_one_task_the_new_one_works_before_the_old_one_goes() -> None:
    wanted, old = app(1), tasks("old")
    roll = begin_roll(wanted, old)
    assert roll_on(wanted, roll, old) == Moves(launch=1)
    assert roll_on(wanted, roll, old + tasks("new", healthy=False)) == Moves()
    assert roll_on(wanted, roll, old + tasks("new")) == Moves(kill=("old",))


def test_without_room_the_old_one_must_be_dead_before_the_new_one_comes() -> None:
    wanted, old = app(1, 0, 0), tasks("old")
    roll = begin_roll(wanted, old)
    assert roll_on(wanted, roll, old) == Moves(kill=("old",))
    assert roll_on(wanted, roll, [Seen("old", False, dying=True)]) == Moves()
    assert roll_on(wanted, roll, []) == Moves(launch=1)


def test_an_unhealthy_one_and_one_without_an_agent_stay_where_there_is_no_room() -> None:
    """As of 1.10: nothing healthy is there that could go, so nothing goes."""
    wanted = app(1, 0, 0) | {"healthChecks": [{}]}
    old = tasks("old", healthy=False)
    assert roll_on(wanted, begin_roll(wanted, old), old) == Moves()
    roll = begin_roll(wanted, [], unplaced=1)
    assert (roll_on(wanted, roll, []), still_unplaced(roll, [])) == (Moves(), 1)


def test_one_without_an_agent_counts_as_healthy_where_there_are_no_checks() -> None:
    roll = begin_roll(app(1, 0, 0), [], unplaced=1)
    assert (roll_on(app(1, 0, 0), roll, []), still_unplaced(roll, [])) == (Moves(launch=1), 0)


def test_one_without_an_agent_goes_for_a_new_one_and_before_those_that_run() -> None:
    wanted, old = app(2) | {"healthChecks": [{}]}, tasks("old")
    roll = begin_roll(wanted, old, unplaced=1)
    assert roll_on(wanted, roll, old) == Moves(launch=2)
    assert still_unplaced(roll, old) == 1
    new = old + tasks("new1")
    assert (roll_on(wanted, roll, new), still_unplaced(roll, new)) == (Moves(launch=1), 0)
    assert roll_on(wanted, roll, new + tasks("new2")) == Moves(kill=("old",))


def test_half_of_four_go_at_once_and_each_healthy_new_one_ends_another() -> None:
    wanted, old = app(4, 0.5, 0), tasks("a", "b", "c", "d")
    roll = begin_roll(wanted, old)
    assert roll_on(wanted, roll, old) == Moves(kill=("a", "b"))
    assert roll_on(wanted, roll, tasks("c", "d")) == Moves(launch=2)
    assert roll_on(wanted, roll, tasks("c", "d", "new1") + tasks("new2", healthy=False)) == Moves(kill=("c",))


def test_of_none_wanted_all_go() -> None:
    assert roll_on(app(0), Roll(("a", "b"), 0, 0), tasks("a", "b")) == Moves(kill=("a", "b"))


@pytest.mark.parametrize(
    ("instances", "present", "moves"),
    [
        (3, tasks("a"), Moves(launch=2)),
        (1, tasks("a", "b", "c"), Moves(kill=("c", "b"))),
        (2, tasks("a") + tasks("b", healthy=False) + tasks("c"), Moves(kill=("b",))),
        (2, [*tasks("a", "b"), Seen("c", False, dying=True)], Moves()),
        (0, [], Moves()),
    ],
)
def test_keeps_the_number_and_lets_the_youngest_and_the_unhealthy_go(
    instances: int, present: list[Seen], moves: Moves
) -> None:
    assert keep(app(instances), present) == moves


def test_lets_the_oldest_go_if_asked() -> None:
    assert keep(app(1) | {"killSelection": "OLDEST_FIRST"}, tasks("a", "b")) == Moves(kill=("a",))
