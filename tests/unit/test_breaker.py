from __future__ import annotations

import random

import pytest

from scripts.action.jobs import Outcome, Verdict
from scripts.worker.breaker import LONGEST_PAUSE_S, Breaker


def _first(breaker: Breaker, *verdicts: Verdict) -> bool:
    """Make first attempts one after the other; whether it is open then."""
    for verdict in verdicts:
        breaker.end(breaker.begin(), Outcome(verdict, "why"))
    return breaker.is_open


def _retries(breaker: Breaker, *verdicts: Verdict) -> bool:
    for verdict in verdicts:
        breaker.end(None, Outcome(verdict, "why"))
    return breaker.is_open


@pytest.mark.parametrize("verdict", ["failed", "rejected"])
def test_it_opens_when_the_first_messages_all_fail_or_are_rejected(verdict: Verdict) -> None:
    breaker = Breaker(10)
    assert not _first(breaker, *[verdict] * 9)
    assert _first(breaker, verdict)
    assert "first 10 messages" in breaker.why


def test_after_a_success_it_takes_twice_as_many_in_a_row() -> None:
    breaker = Breaker(10)
    assert not _first(breaker, "done", *["failed"] * 19)
    assert _first(breaker, "failed")
    assert "20 messages in a row" in breaker.why


def test_after_a_success_what_is_rejected_is_the_messages_fault() -> None:
    assert not _first(Breaker(10), "done", *["rejected"] * 100)


def test_a_success_begins_the_count_anew() -> None:
    assert not _first(Breaker(10), "done", *["failed"] * 19, "done", *["failed"] * 19)


def test_a_retry_that_succeeds_begins_the_count_anew() -> None:
    breaker = Breaker(10)
    assert not _first(breaker, *["failed"] * 9)
    assert not _retries(breaker, "done")
    assert not _first(breaker, *["failed"] * 19)


def test_a_tail_of_retries_opens_nothing() -> None:
    assert not _retries(Breaker(10), *["failed"] * 100, *["rejected"] * 100)


def test_what_was_killed_with_the_worker_does_not_count() -> None:
    assert not _first(Breaker(10), *["failed"] * 9, *["killed"] * 30)


def test_any_success_closes_it() -> None:
    breaker = Breaker(2)
    assert _first(breaker, "failed", "failed")
    assert not _retries(breaker, "done")
    assert not _first(breaker, "failed", "failed", "failed")
    assert _first(breaker, "failed")


def test_0_never_opens() -> None:
    assert not _first(Breaker(0), *["failed"] * 100)


def test_what_still_runs_may_succeed_and_is_waited_for() -> None:
    breaker = Breaker(2)
    slow = breaker.begin()
    assert not _first(breaker, "failed", "failed", "failed")
    breaker.end(slow, Outcome("failed"))
    assert breaker.is_open


def test_one_that_hangs_does_not_hide_that_all_others_fail() -> None:
    breaker = Breaker(2)
    breaker.begin()
    assert _first(breaker, *["failed"] * 4)


def test_the_pauses_are_doubled_up_to_the_longest_and_begin_anew_after_a_success() -> None:
    breaker = Breaker(1)
    pauses = []
    for _ in range(100):
        pauses.append(breaker.pause_s)
        breaker.failed_probes += 1
    assert pauses[:8] == [5, 10, 20, 40, 80, 160, 320, LONGEST_PAUSE_S]
    assert pauses[-1] == LONGEST_PAUSE_S
    _first(breaker, "done")
    assert breaker.pause_s == 5


@pytest.mark.parametrize("jobs", [1, 4, 16])
def test_random_failures_never_open_it_though_they_are_over_before_the_successes(jobs: int) -> None:
    """40 % fail at once, the others take so long that all slots but a failing one are full of them."""
    dice = random.Random(jobs)
    for _ in range(50):
        breaker, slow = Breaker(10), []
        for _ in range(500):
            if len(slow) == jobs:
                breaker.end(slow.pop(dice.randrange(jobs)), Outcome("done"))
            if dice.random() < 0.4:
                _first(breaker, "failed")
            else:
                slow.append(breaker.begin())
            assert not breaker.is_open


def test_failures_that_are_not_counted_yet_may_open_it() -> None:
    breaker = Breaker(3)
    _first(breaker, "failed")
    assert (breaker.may_open(1), breaker.may_open(2)) == (False, True)
    _first(breaker, "done")
    assert (breaker.may_open(5), breaker.may_open(6)) == (False, True)
    _first(breaker, *["failed"] * 6)
    assert not breaker.may_open(6)
    assert not Breaker(0).may_open(100)
