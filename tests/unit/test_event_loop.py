from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from scripts.errors import ClusterError
from scripts.event_loop import EventLoop, Timer, in_thread


class Clock:
    """A timer on a loop, and with what it expired, in how many seconds from the start."""

    def __init__(self) -> None:
        self.loop = EventLoop()
        self.began = time.monotonic()
        self.expired: list[tuple[str, float]] = []
        self.timer = Timer(self.loop, lambda why: self.expired.append((why, time.monotonic() - self.began)))

    def run(self, seconds: float) -> None:
        self.loop.call_later(seconds, self.loop.stop)
        self.loop.run()

    def run_until_expired(self) -> tuple[str, float]:
        """However slow the machine is; and a little longer."""
        while not self.expired:
            self.run(0.05)
        self.run(0.05)
        [once] = self.expired
        return once


@pytest.fixture
def clock() -> Iterator[Clock]:
    one = Clock()
    yield one
    one.loop.close()


@pytest.mark.parametrize(("first_s", "second_s"), [(0.05, 0.15), (1000, 0.05)])
def test_of_two_times_the_last_one_counts(clock: Clock, first_s: float, second_s: float) -> None:
    clock.timer.set(first_s, "first")
    clock.timer.set(second_s, "second")
    why, after_s = clock.run_until_expired()
    assert why == "second"
    assert after_s >= second_s
    assert not clock.timer.is_set


def test_a_stopped_timer_leaves_nothing_on_the_loop_and_can_be_set_again(clock: Clock) -> None:
    clock.timer.set(0.05, "first")
    clock.timer.stop()
    assert [timer for timer in clock.loop._timer._timeout_heap if timer.callback] == []
    clock.run(0.1)
    assert clock.expired == []
    clock.timer.set(0.05, "second")
    assert clock.run_until_expired()[0] == "second"


def test_a_timer_can_be_set_as_it_expires() -> None:
    loop = EventLoop()
    seen: list[str] = []

    def expired(why: str) -> None:
        seen.append(why)
        if why == "first":
            timer.set(0.01, "second")
        else:
            loop.stop()

    timer = Timer(loop, expired)
    timer.set(0.01, "first")
    loop.run()
    loop.close()
    assert seen == ["first", "second"]


def test_a_bug_in_a_guarded_callback_ends_the_loop_with_its_traceback() -> None:
    loop = EventLoop()

    def bug() -> None:
        raise ZeroDivisionError("our own")

    loop.call_later(0, loop.guard(bug))
    with pytest.raises(ZeroDivisionError):
        loop.run()
    loop.close()


def _raising(error: BaseException) -> Callable[[], None]:
    def ask() -> None:
        raise error

    return ask


def test_a_thread_gives_its_answer_or_a_reason_to_the_loop_and_a_bug_ends_it() -> None:
    loop = EventLoop()
    told: list[str] = []

    def tell(text: str) -> None:
        told.append(text)
        loop.stop()

    in_thread(loop, lambda: "answer", tell, pytest.fail)
    loop.run()
    in_thread(loop, _raising(ClusterError("reason")), pytest.fail, tell)
    loop.run()
    assert told == ["answer", "reason"]
    in_thread(loop, _raising(ZeroDivisionError()), pytest.fail, pytest.fail)
    with pytest.raises(ZeroDivisionError):
        loop.run()
    loop.close()
