"""Which ends are an eviction's."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from scripts.action.jobs import Outcome
from scripts.errors import WrongUsage
from scripts.event_loop import EventLoop
from scripts.worker import eviction
from scripts.worker.eviction import VARIABLE, Eviction
from tests.refusing import refusal

FAILED, REJECTED = Outcome("failed", "exit 1", exit_code=1), Outcome("rejected", "exit 65", exit_code=65)
BY_TERM, EXIT_143 = Outcome("failed", "by TERM", signal=15), Outcome("failed", "exit 143", exit_code=143)
DONE, UNSTARTABLE = Outcome("done", exit_code=0), Outcome("unstartable", "no such file")


class Clock:
    """A time that passes only between what is tested."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        monkeypatch.setattr(eviction, "time", SimpleNamespace(monotonic=lambda: self.now_s))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    one = EventLoop()
    yield one
    one.close()


def turn(loop: EventLoop, seconds: float = 0.05) -> None:
    """Let the loop run for a moment."""
    loop.call_later(seconds, loop.stop)
    loop.run()


@pytest.mark.parametrize(
    ("outcome", "ended_after_s", "verdict"),
    [
        (FAILED, -1.9, "killed"),
        (FAILED, 0, "killed"),
        (FAILED, 1.9, "killed"),
        (REJECTED, -1.9, "killed"),
        (REJECTED, 1.9, "killed"),
        (FAILED, 2.1, "failed"),
        (REJECTED, 2.1, "rejected"),
        (FAILED, -2.1, "failed"),
        (BY_TERM, -2.1, "failed"),
        (BY_TERM, 20, "killed"),
        (EXIT_143, -1.9, "killed"),
        (EXIT_143, 20, "killed"),
        (DONE, 0, "done"),
        (UNSTARTABLE, 0, "unstartable"),
    ],
)
def test_an_end_near_the_eviction_or_by_its_signal_is_its_own(
    loop: EventLoop, clock: Clock, monkeypatch: pytest.MonkeyPatch, outcome: Outcome, ended_after_s: float, verdict: str
) -> None:
    monkeypatch.setattr(eviction, "_LATER_S", 100)
    monkeypatch.setattr(eviction, "_LATER_OF_TERM_S", 100)
    judged: list[Outcome] = []
    evicted = Eviction(loop, 25)
    if ended_after_s < 0:
        evicted.judge(outcome, judged.append)
        clock.now_s -= ended_after_s
        assert evicted.begin(lambda: None)
        turn(loop)
    else:
        assert evicted.begin(lambda: None)
        clock.now_s += ended_after_s
        evicted.judge(outcome, judged.append)
    assert [one.verdict for one in judged] == [verdict]
    assert (judged[0].exit_code, judged[0].signal) == (outcome.exit_code, outcome.signal)
    assert evicted.undecided == 0


def test_a_failure_without_an_eviction_is_decided_soon_and_once(loop: EventLoop) -> None:
    judged: list[Outcome] = []
    evicted = Eviction(loop, 25)
    evicted.judge(FAILED, judged.append)
    assert (judged, evicted.undecided) == ([], 1)
    turn(loop, 0.5)
    assert (judged, evicted.undecided) == ([FAILED], 0)
    assert evicted.begin(lambda: None)
    turn(loop)
    assert judged == [FAILED]


@pytest.mark.parametrize("outcome", [DONE, UNSTARTABLE])
def test_what_is_no_failure_does_not_wait(loop: EventLoop, outcome: Outcome) -> None:
    judged: list[Outcome] = []
    Eviction(loop, 25).judge(outcome, judged.append)
    assert judged == [outcome]


def test_without_the_variable_nothing_waits(loop: EventLoop) -> None:
    judged: list[Outcome] = []
    never = Eviction.of(loop, {})
    never.judge(BY_TERM, judged.append)
    assert (judged, never.is_expected, never.begin(lambda: None)) == ([BY_TERM], False, False)


def test_the_grace_begins_once(loop: EventLoop) -> None:
    over: list[int] = []
    evicted = Eviction.of(loop, {VARIABLE: "0.1"})
    assert evicted.begin(lambda: over.append(1))
    assert not evicted.begin(lambda: over.append(2))
    turn(loop, 0.3)
    assert over == [1]


@pytest.mark.parametrize("text", ["soon", "-1", "nan"])
def test_a_time_that_is_none(loop: EventLoop, text: str) -> None:
    assert text in refusal(Eviction.of, loop, {VARIABLE: text}, by=WrongUsage)
