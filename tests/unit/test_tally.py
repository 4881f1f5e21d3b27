"""The count of what is waited for: no message is new for being missed once, or met twice."""

from __future__ import annotations

from dataclasses import replace

from cluster.queue.waiting.certainty import Counts, Reading
from cluster.queue.waiting.tally import Tally
from scripts.amqp.workers import Report


def reading(ready: int, in_hand: int = 0, to_retry: int = 0, *, settled: int = 0, failed: int = 0) -> Reading:
    worker = Report("q", "host", 1, "", "1", 0.0, 1, "taking", "", settled, failed, 0, 0.0, 0, in_hand, 1, running=())
    counts = Counts(ready, 0, to_retry, consumers=1)
    return Reading(0, 0.05, counts, [worker], counts)


def tallied(*readings: Reading, published: int = 0) -> list[tuple[int, int]]:
    """Return done and total after each reading."""
    tally, found = Tally(), []
    for one in readings:
        tally.look(one, published)
        found.append((tally.done, tally.total))
    return found


MISSED = [
    reading(10),
    reading(4, 2, settled=4),
    reading(4, 0, 1, settled=4),  # one is on its way to a retry queue
    reading(4, 0, 2, settled=4),
    reading(0, 2, 0, settled=8),
    reading(0, 0, 0, settled=9, failed=1),
]


def test_what_a_reading_misses_is_done_only_for_now() -> None:
    expected = [(0, 10), (4, 10), (5, 10), (4, 10), (8, 10), (10, 10)]
    assert tallied(*MISSED, published=10) == expected
    assert tallied(*MISSED) == expected


def test_queues_that_come_up_one_after_the_other_hold_nothing_new() -> None:
    """After a broker was away; its worker counts again what it had settled without being heard."""
    readings = [reading(10), reading(0, settled=3), reading(8, settled=3), reading(0, settled=11)]
    assert tallied(*readings, published=10)[-1] == (10, 10)


def test_a_message_that_is_met_in_hand_and_then_to_be_tried_again_is_one() -> None:
    twice = replace(reading(9, 1), after=Counts(9, 0, 1, consumers=1))
    assert tallied(twice, reading(9, 1), published=10) == [(0, 10), (0, 10)]
    assert [total for _, total in tallied(reading(10), twice, reading(10))] == [10, 10, 10]


def test_what_others_publish_meanwhile_is_new() -> None:
    assert tallied(reading(10), reading(25, settled=5), reading(0, settled=30)) == [(0, 10), (5, 30), (30, 30)]
    assert tallied(reading(10), reading(25), published=10)[-1] == (0, 25)


def test_what_was_settled_before_counts_by_what_was_published() -> None:
    assert tallied(reading(2, 1, settled=97), published=100) == [(97, 100)]
    assert tallied(reading(2, 1, settled=97)) == [(0, 3)]
