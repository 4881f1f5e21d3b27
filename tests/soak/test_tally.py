"""The soak's own judgement: what counts as lost, and what explains that a message was worked on twice."""

from __future__ import annotations

from tests.soak.tally import Break, Run, Tally, why_twice

KILLED = Break("worker killed", 5, 5, "loses", frozenset({1}))
CUT = Break("network cut", 5, 6, "loses", frozenset({1, 2}), publisher=True, gone=5.2)
STOPPED = Break("worker stopped", 5, 6, "nothing", frozenset({1}))
PAUSED = Break("worker paused", 5, 9, "delays", frozenset({1}))


def run(worker: int, began: float, verdict: str = "ok", published: int = 0, seconds: float = 0.1) -> Run:
    return Run(worker, verdict, began, began + seconds, published)


def test_what_neither_ran_nor_failed_is_lost() -> None:
    runs = {"1": [run(1, 5)], "2": [run(1, 5, "retry")]}
    tally = Tally(frozenset({"1", "2", "3", "99"}), runs, [("99", "reject")], 0, [])
    assert tally.lost == {"2", "3"}


def test_a_failure_that_no_action_asked_for_is_wrong_unless_its_workers_were_lost() -> None:
    failed = [("99", "reject"), ("1", "its worker or connection was lost in attempt 3"), ("2", "exit 1")]
    assert Tally(frozenset(), {}, failed, 0, []).failed_wrongly == {("2", "exit 1")}


def test_the_loss_of_its_worker_explains_a_second_run() -> None:
    assert why_twice([run(1, 4.95), run(2, 7)], [KILLED]) == "worker killed"


def test_nothing_explains_a_second_run_without_a_break() -> None:
    assert why_twice([run(1, 4.95), run(2, 7)], []) == ""


def test_the_loss_of_another_worker_explains_nothing() -> None:
    assert why_twice([run(2, 4.95), run(1, 7)], [KILLED]) == ""


def test_a_loss_long_after_the_run_explains_nothing() -> None:
    assert why_twice([run(1, 1), run(2, 7)], [KILLED]) == ""


def test_a_stop_and_a_pause_explain_nothing() -> None:
    assert why_twice([run(1, 4.95), run(2, 7)], [STOPPED, PAUSED]) == ""


def test_a_pause_delays_the_acknowledgement_that_is_lost_then() -> None:
    killed_later = Break("worker killed", 10, 10, "loses", frozenset({1}))
    assert why_twice([run(1, 4.95), run(2, 11)], [PAUSED, killed_later]) == "worker killed"


def test_a_worker_that_lost_its_connection_during_a_run_does_not_run_it_again() -> None:
    assert why_twice([run(1, 4.95), run(1, 7)], [CUT]) == "network cut"
    assert why_twice([run(1, 4.95, seconds=3), run(1, 9)], [CUT]) == ""


def test_a_failed_attempt_is_in_doubt_until_its_next_one() -> None:
    late = Break("broker killed", 9, 10, "loses", frozenset({1, 2}))
    assert why_twice([run(1, 5, "retry"), run(2, 9.5), run(2, 11)], [late]) == "broker killed"


def test_two_copies_are_explained_by_what_broke_between_their_publishing() -> None:
    assert why_twice([run(1, 20, published=4), run(2, 30, published=7)], [CUT]) == "network cut, published again"
    assert why_twice([run(1, 20, published=4), run(2, 30, published=7)], [KILLED]) == ""


def test_each_of_several_repetitions_needs_its_reason() -> None:
    runs = [run(1, 4.95, published=0), run(2, 7, published=0), run(1, 20, published=15), run(1, 25, published=19)]
    assert why_twice(runs, [CUT]) == ""
    later = Break("publisher killed", 16, 17, "nothing", publisher=True)
    causes = ("network cut, published again", "publisher killed, published again", "network cut")
    assert why_twice(runs, [CUT, later]) == " and ".join(causes)
