from __future__ import annotations

from scripts.action.jobs import Outcome
from scripts.worker.breaker import Breaker

AT_ONCE = Outcome("failed", "exit 1", seconds=0.01)


def _trips(breaker: Breaker, *outcomes: tuple[str, Outcome]) -> list[bool]:
    return [breaker.trips(message, outcome) for message, outcome in outcomes]


def test_it_trips_at_the_limit() -> None:
    assert _trips(Breaker(3), ("a", AT_ONCE), ("b", AT_ONCE), ("c", AT_ONCE)) == [False, False, True]


def test_one_message_counts_once() -> None:
    assert _trips(Breaker(2), ("a", AT_ONCE), ("a", AT_ONCE), ("b", AT_ONCE)) == [False, False, True]


def test_a_success_begins_the_count_anew() -> None:
    done = Outcome("done", seconds=0.01)
    assert _trips(Breaker(2), ("a", AT_ONCE), ("b", done), ("c", AT_ONCE)) == [False] * 3


def test_a_slow_failure_begins_the_count_anew() -> None:
    slow = Outcome("failed", seconds=1.0)
    assert _trips(Breaker(2), ("a", AT_ONCE), ("b", slow), ("c", AT_ONCE)) == [False] * 3


def test_a_rejected_message_does_not_count() -> None:
    rejected = Outcome("rejected", "exit 65", seconds=0.01)
    assert _trips(Breaker(2), ("a", AT_ONCE), ("b", rejected), ("c", AT_ONCE)) == [False, False, True]


def test_0_never_trips() -> None:
    assert not any(_trips(Breaker(0), *((str(n), AT_ONCE) for n in range(100))))
