"""The end of a queue's work: never said while a message is anywhere, and said soon when none is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.queue.waiting.certainty import APART_S, FIGURES_OLD_S, Certainty, Counts, Figures, Reading
from scripts.amqp.workers import Report


def report(pid: int = 1, taken: int = 0, in_hand: int = 0, subscriptions: int = 1) -> Report:
    return Report(
        "q", "host", pid, "", "1", 0.0, 1, "taking", "", 0, 0, 0, 0.0, taken, in_hand, subscriptions, running=()
    )  # fmt: skip


def reading(at_s: float, *workers: Report, **changes: object) -> Reading:
    counts = Counts(consumers=sum(one.subscriptions for one in workers))
    return replace(Reading(at_s, at_s + 0.05, counts, workers, counts), **changes)


def said(*readings: Reading, was_lost: bool = False) -> list[bool]:
    certainty = Certainty(was_lost=was_lost)
    return [certainty.look(one) for one in readings]


def test_workers_may_answer_in_any_order() -> None:
    one, other = replace(report(7), since=1.0), replace(report(7), since=2.0)
    assert said(reading(0, one, other), reading(0.06 + APART_S, other, one)) == [False, True]


def test_two_readings_a_second_apart_are_enough() -> None:
    assert said(reading(0, report()), reading(0.5, report()), reading(0.06 + APART_S, report())) == [False, False, True]


@pytest.mark.parametrize(
    "second",
    [
        reading(2, report(in_hand=1)),
        reading(2, report(taken=1)),
        reading(2, report(pid=2)),
        reading(2, report(), report(pid=2)),
        reading(2, report(), before=Counts(ready=1, consumers=1)),
        reading(2, report(), after=Counts(to_retry=1, consumers=1)),
        reading(2, report(), after=Counts(alone=1, consumers=1)),
        reading(2, report(), is_doubtful=True),
        reading(2, report(), ended_s=4.0),
        # Somebody else consumes, or a classic queue, whose consumers may hold messages that are not counted.
        reading(2, report(), before=Counts(consumers=2), after=Counts(consumers=2)),
        reading(2, report(), is_quorum=False),
        # A queue that is not up.
        reading(2, report(), before=Counts(), after=Counts()),
    ],
)
def test_what_differs_begins_it_anew(second: Reading) -> None:
    assert said(reading(0, report()), second) == [False, False]


def silent(at_s: float, figures: Figures | None) -> Reading:
    counts = Counts(consumers=1)
    return reading(at_s, before=counts, after=counts, figures=figures)


def test_what_others_hold_the_api_says_late() -> None:
    none, one = Figures(0, 0), Figures(1, 1)
    late = FIGURES_OLD_S + 0.1
    assert said(silent(0, none), silent(2, none), silent(late, none)) == [False, False, True]
    assert said(silent(0, none), silent(late, one), silent(late + 1, None), silent(late + 1, none)) == [
        False, False, False, True,
    ]  # fmt: skip
    assert not any(said(*(silent(at_s, None) for at_s in range(100))))


def test_nobody_and_nothing_needs_more_evidence() -> None:
    assert said(reading(0), reading(2)) == [False, False]
    assert said(reading(0), reading(2, figures=Figures(0, 0))) == [False, True]
    assert said(reading(0), reading(FIGURES_OLD_S + 1)) == [False, True]


def test_after_a_loss_the_queues_may_not_be_up() -> None:
    assert said(reading(0, report()), reading(2, report()), was_lost=True) == [False, False]
    assert said(reading(0, report()), reading(7, report(), figures=Figures(0, 0)), was_lost=True) == [False, True]


def test_what_was_seen_to_wait_must_have_come() -> None:
    waits = reading(0, report(taken=5), after=Counts(to_retry=1, consumers=1))
    lost = [reading(1, report(taken=5)), reading(3, report(taken=5)), reading(1.5 + FIGURES_OLD_S, report(taken=5))]
    assert said(waits, *lost) == [False, False, False, True]
    assert said(waits, reading(1, report(taken=6)), reading(3, report(taken=6))) == [False, False, True]


@dataclass
class Message:
    place: str = "ready"
    since_s: float = 0.0
    worker: int = 0


class World:
    """A broker, workers and messages that move by chance between any two things that are looked at.

    A message is in a retry queue for a second at least. On its way back it is in no count, for `transit_s` at most.
    """

    def __init__(self, random: Random, messages: int, *, transit_s: float, kills: bool) -> None:
        self.random, self.transit_s, self.kills = random, transit_s, kills
        self.now_s = 0.0
        self.messages = [Message() for _ in range(messages)]
        self.taken = {1: 0, 2: 0}

    def at(self, place: str) -> list[Message]:
        return [one for one in self.messages if one.place == place]

    def happens(self) -> None:
        """Let a little time pass, and something happen, or nothing."""
        self.now_s += self.random.choice([0.001, 0.01, 0.05])
        self._broker_moves()
        self._workers_do()
        if self.kills and self.random.random() < 0.02:
            self._kill(self.random.choice(list(self.taken)))

    def _broker_moves(self) -> None:
        for one in self.at("on its way"):
            if self.now_s - one.since_s > self.transit_s * self.random.random():
                self._move(one, "ready")
        for one in self.at("retry"):
            if self.now_s - one.since_s >= 1.0:
                self._move(one, "on its way")

    def _workers_do(self) -> None:
        for one in self.at("ready"):
            if self.random.random() < 0.5:
                one.worker = self.random.choice(list(self.taken))
                self.taken[one.worker] += 1
                self._move(one, "held")
        for one in self.at("held"):
            self._move(one, self.random.choice(["held", "held", "retry", "settled"]))

    def finish(self) -> None:
        """Settle everything, and kill nobody any more."""
        self.kills = False
        for one in self.messages:
            one.place = "settled"

    def _move(self, one: Message, place: str) -> None:
        if one.place != place:
            one.place, one.since_s = place, self.now_s

    def _kill(self, worker: int) -> None:
        del self.taken[worker]
        for one in self.at("held"):
            if one.worker == worker:
                self._move(one, "ready")
        self.taken[max([worker, *self.taken]) + 1] = 0

    def look(self) -> Reading:
        began_s, before = self.now_s, self._count()
        reports = []
        for worker in list(self.taken):
            self.happens()
            if worker in self.taken:
                held = [one for one in self.at("held") if one.worker == worker]
                reports.append(report(worker, self.taken[worker], len(held)))
        after = self._count()
        return Reading(began_s, self.now_s, before, reports, after)

    def _count(self) -> Counts:
        ready, consumers = len(self.at("ready")), len(self.taken)
        self.happens()
        return Counts(ready, 0, len(self.at("retry")), consumers)


@settings(max_examples=150, deadline=None)
@given(
    st.randoms(use_true_random=False), st.integers(0, 3), st.sampled_from([(0.5, True), (0.5, False), (30.0, False)])
)
def test_it_is_never_said_too_early_and_soon_after_the_end(
    random: Random, messages: int, way: tuple[float, bool]
) -> None:
    """However messages move; where no worker dies, also when the broker takes long to move one."""
    world = World(random, messages, transit_s=way[0], kills=way[1])
    certainty = Certainty()
    for _ in range(60):
        if certainty.look(world.look()):
            assert len(world.at("settled")) == messages
            break
        for _ in range(random.randint(1, 8)):
            world.happens()
    world.finish()
    certainty = Certainty()
    certainty.look(world.look())
    world.now_s += APART_S + 0.01
    assert certainty.look(world.look())
