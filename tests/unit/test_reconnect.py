from __future__ import annotations

from scripts.worker.reconnect import LONGEST_PAUSE_S, Pauses


def test_pauses_grow_with_jitter_up_to_the_longest() -> None:
    pauses = Pauses()
    found = [pauses.next_s() for _ in range(12)]
    for number, pause in enumerate(found):
        full = min(0.5 * 2**number, LONGEST_PAUSE_S)
        assert full / 2 <= pause <= full


def test_a_shorter_longest_pause_holds_for_that_time_alone() -> None:
    pauses = Pauses()
    for _ in range(9):
        assert pauses.next_s(2.0) <= 2
    assert pauses.next_s() >= LONGEST_PAUSE_S / 2


def test_two_workers_do_not_come_at_the_same_moment() -> None:
    assert len({Pauses().next_s() for _ in range(50)}) > 40


def test_after_a_success_they_begin_anew() -> None:
    pauses = Pauses()
    for _ in range(9):
        pauses.next_s()
    pauses.reset()
    assert pauses.next_s() <= 0.5
