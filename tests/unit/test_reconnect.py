from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scripts.worker.reconnect import LONGEST_PAUSE_S, Reconnecting


class Away:
    """A loop without waiting, and a locator that finds no broker."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def call_later(self, pause_s: float, again: Callable[[], None]) -> None:
        self.pauses.append(pause_s)
        self.again = again

    def locate(self, found: Callable[[str], None], failed: Callable[[str], None]) -> None:
        failed("no broker")


def tried(times: int) -> tuple[Away, Reconnecting]:
    away: Any = Away()
    connection = Reconnecting(away, away.locate, "queue 'q'", lambda *_: None, lambda: None)
    connection.start()
    for _ in range(times - 1):
        away.again()
    return away, connection


def test_pauses_grow_with_jitter_up_to_the_longest() -> None:
    for number, pause in enumerate(tried(12)[0].pauses):
        full = min(0.5 * 2**number, LONGEST_PAUSE_S)
        assert full / 2 <= pause <= full


def test_a_shorter_longest_pause_holds_for_that_time_alone() -> None:
    away, connection = tried(9)
    connection.trouble("lost", 2.0)
    away.again()
    assert away.pauses[-2] <= 2
    assert away.pauses[-1] >= LONGEST_PAUSE_S / 2


def test_two_workers_do_not_come_at_the_same_moment() -> None:
    assert len({tried(1)[0].pauses[0] for _ in range(50)}) > 40


def test_after_a_useful_connection_they_begin_anew() -> None:
    away, connection = tried(9)
    connection.useful()
    away.again()
    assert away.pauses[-1] <= 0.5
