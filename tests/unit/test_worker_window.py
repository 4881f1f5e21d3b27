"""How many messages a worker holds, by how long its actions take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.worker.window import Window


def _looked(window: Window, seconds: list[float], waiting: int = 1) -> int:
    for one in seconds:
        window.ended(one)
    window.look(waiting)
    return window.size


@pytest.mark.parametrize(
    ("jobs", "seconds", "size"),
    [(1, 0.01, 11), (4, 0.01, 44), (1, 0.000_01, 101), (2, 0.001, 202), (1, 0.05, 1), (1, 0.04, 3), (3, 1.0, 3)],
)
def test_more_is_held_while_actions_are_short(jobs: int, seconds: float, size: int) -> None:
    """About a tenth of a second of work, and no more than a hundred for each job."""
    assert _looked(Window(jobs), [seconds] * 20) == size


def test_nothing_is_held_before_enough_is_known() -> None:
    """A few items among many workers: the first one must not take all."""
    window = Window(2)
    assert window.size == 2
    assert _looked(window, [0.001] * 3) == 2


def test_long_actions_end_it() -> None:
    window = Window(1)
    assert _looked(window, [0.001] * 1000) == 101
    assert _looked(window, [0.5] * 10) == 1


def test_one_hiccup_among_many_does_not() -> None:
    window = Window(1)
    assert _looked(window, [0.001] * 1000) == 101
    assert _looked(window, [0.001] * 300 + [0.1]) == 101


def test_an_action_that_does_not_end_ends_it_while_others_wait() -> None:
    window = Window(1)
    _looked(window, [0.001] * 100)
    assert _looked(window, [], waiting=0) == 101
    assert _looked(window, [], waiting=5) == 1
    # What was known is of no use any more.
    assert _looked(window, [0.001] * 3) == 1


def test_small_changes_are_not_worth_a_new_subscription() -> None:
    window = Window(1)
    assert _looked(window, [0.01] * 20) == 11
    assert _looked(window, [0.0055] * 500) == 11
    assert _looked(window, [0.016] * 500) == 11
    assert _looked(window, [0.001] * 500) > 40


def test_what_begins_anew_has_to_learn_anew() -> None:
    window = Window(1)
    _looked(window, [0.001] * 100)
    window.begin_anew()
    assert window.size == 1
    assert _looked(window, [0.001] * 3) == 1


@given(st.integers(1, 10_000), st.lists(st.tuples(st.lists(st.floats(0, 1000), max_size=30), st.integers(0, 3))))
def test_it_is_never_less_than_what_runs_nor_more_than_amqp_can_say(
    jobs: int, looks: list[tuple[list[float], int]]
) -> None:
    window = Window(jobs)
    for seconds, waiting in looks:
        assert jobs <= _looked(window, seconds, waiting) <= min(101 * jobs, 65535)
