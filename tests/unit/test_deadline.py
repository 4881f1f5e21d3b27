import time
from collections.abc import Callable, Iterator

import pytest

from scripts.action.deadline import Deadline
from scripts.event_loop import EventLoop


class Clock:
    """A deadline on a loop, and when it expired, in seconds from the start."""

    def __init__(self) -> None:
        self.loop = EventLoop()
        self.began = time.monotonic()
        self.expired: list[tuple[str, float]] = []
        self.deadline = Deadline(self.loop, lambda why: self.expired.append((why, time.monotonic() - self.began)))

    def run(self, seconds: float) -> None:
        self.loop.call_later(seconds, self.loop.stop)
        self.loop.run()

    def run_until(self, happened: Callable[[], object]) -> None:
        """However slow the machine is; and a little longer."""
        while not happened():
            self.run(0.05)
        self.run(0.05)


@pytest.fixture
def clock() -> Iterator[Clock]:
    one = Clock()
    yield one
    one.loop.close()


def test_it_expires_once_with_its_reason(clock: Clock) -> None:
    clock.deadline.set(0.05, "why")
    clock.run_until(lambda: clock.expired)
    [(reason, after_s)] = clock.expired
    assert reason == "why"
    assert after_s >= 0.05


def test_a_later_limit_replaces_an_earlier_one(clock: Clock) -> None:
    clock.deadline.set(0.05, "early")
    clock.deadline.set(0.15, "late")
    clock.run_until(lambda: clock.expired)
    [(reason, after_s)] = clock.expired
    assert reason == "late"
    assert after_s >= 0.15


def test_an_earlier_limit_replaces_a_later_one(clock: Clock) -> None:
    clock.deadline.set(1000, "late")
    clock.deadline.set(0.05, "early")
    clock.run_until(lambda: clock.expired)
    assert [reason for reason, _ in clock.expired] == ["early"]


def test_lifted_it_does_not_expire_and_can_be_set_again(clock: Clock) -> None:
    clock.deadline.set(0.05, "first")
    clock.deadline.lift()
    clock.run(0.1)
    assert clock.expired == []
    clock.deadline.set(0.05, "second")
    clock.run_until(lambda: clock.expired)
    assert [reason for reason, _ in clock.expired] == ["second"]


def test_it_can_be_set_from_within_its_expiry(clock: Clock) -> None:
    seen: list[str] = []

    def expired(why: str) -> None:
        seen.append(why)
        if why == "first":
            clock.deadline.set(0.01, "second")

    clock.deadline = Deadline(clock.loop, expired)
    clock.deadline.set(0.01, "first")
    clock.run_until(lambda: len(seen) == 2)
    assert seen == ["first", "second"]


def test_ten_thousand_limits_leave_one_timer(clock: Clock) -> None:
    for _ in range(10_000):
        clock.deadline.set(1000, "why")
        clock.deadline.lift()
    assert len(clock.loop._timer._timeout_heap) == 1


def test_closed_it_leaves_nothing_on_the_loop(clock: Clock) -> None:
    clock.deadline.set(0.05, "why")
    clock.deadline.close()
    assert [timer for timer in clock.loop._timer._timeout_heap if timer.callback] == []
    clock.run(0.1)
    assert clock.expired == []
