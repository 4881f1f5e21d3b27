"""What a worker has in hand: which deliveries are settled, and runs whose link was lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pika
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripts.event_loop import EventLoop
from scripts.worker.deliveries import Link, OrphanedRuns, Run


class Channel:
    """What the broker would know: which tags are settled, and how many frames that took."""

    is_open = True

    def __init__(self, delivered: int) -> None:
        self.unsettled = set(range(1, delivered + 1))
        self.handed_back: set[int] = set()
        self.frames = 0

    def basic_ack(self, tag: int, multiple: bool = False) -> None:
        self.frames += 1
        assert tag in self.unsettled, "the broker closes a channel on which an unknown tag is settled"
        self.unsettled -= set(range(1, tag + 1)) if multiple else {tag}

    def basic_nack(self, tag: int, requeue: bool) -> None:
        assert requeue
        self.unsettled.remove(tag)
        self.handed_back.add(tag)


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    one = EventLoop()
    yield one
    one.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.integers(1, 8))
def test_exactly_what_is_settled_is_told(loop: EventLoop, data: Any, hold: int) -> None:
    """Whatever the order, and whatever is handed back in between."""
    channel = Channel(12)
    link = Link(loop, channel, hold)
    settled = data.draw(st.lists(st.integers(1, 12), unique=True))
    back = {tag for tag in settled if data.draw(st.booleans())}
    for tag in settled:
        if tag in back:
            link.hand_back(tag)
        else:
            link.ack(tag)
        assert channel.unsettled >= set(range(1, 13)) - set(settled)
    link.flush()
    assert channel.unsettled == set(range(1, 13)) - set(settled)
    assert channel.handed_back == back


def test_in_order_they_go_together(loop: EventLoop) -> None:
    channel = Channel(100)
    link = Link(loop, channel, hold=5)
    for tag in range(1, 101):
        link.ack(tag)
    assert channel.frames == 20
    assert not channel.unsettled


def test_without_a_hold_each_goes_at_once(loop: EventLoop) -> None:
    channel = Channel(3)
    link = Link(loop, channel)
    link.ack(2)
    assert channel.unsettled == {1, 3}


def test_none_waits_for_long(loop: EventLoop) -> None:
    channel = Channel(9)
    link = Link(loop, channel, hold=9)
    link.ack(1)
    began = time.monotonic()

    def look() -> None:
        if channel.unsettled == set(range(2, 10)):
            loop.stop()
        else:
            loop.call_later(0.001, look)

    loop.call_later(0.001, look)
    loop.run()
    assert time.monotonic() - began < 20


def test_a_lost_link_settles_nothing(loop: EventLoop) -> None:
    channel = Channel(3)
    link = Link(loop, channel, hold=2)
    link.ack(1)
    link.lose()
    link.ack(2)
    link.hand_back(3)
    link.flush()
    assert channel.frames == 0
    assert channel.unsettled == {1, 2, 3}


def _run(body: bytes, message_id: str | None = "id", tag: int = 1) -> Run:
    link: Any = None
    return Run(link, tag, True, "q", pika.BasicProperties(message_id=message_id), body)


def test_the_same_message_is_claimed_once() -> None:
    orphaned, run, again = OrphanedRuns(), _run(b"x"), _run(b"x", tag=2)
    orphaned.add(run)
    assert orphaned.claim(again) is run
    assert (run.tag, run.body) == (2, b"x")
    assert orphaned.claim(_run(b"x")) is None


def test_another_body_or_id_is_another_message() -> None:
    orphaned = OrphanedRuns()
    orphaned.add(_run(b"x"))
    assert orphaned.claim(_run(b"y")) is None
    assert orphaned.claim(_run(b"x", "other")) is None
    assert orphaned.claim(_run(b"x", None)) is None
    assert orphaned.claim(_run(b"x")) is not None


def test_equal_messages_without_id_are_claimed_one_by_one() -> None:
    orphaned, runs = OrphanedRuns(), [_run(b"x", None), _run(b"x", None)]
    for run in runs:
        orphaned.add(run)
    assert [orphaned.claim(_run(b"x", None)) for _ in range(3)] == [*runs, None]


def test_the_oldest_are_forgotten_and_bodies_are_not_kept() -> None:
    orphaned = OrphanedRuns()
    for number in range(1500):
        orphaned.add(_run(b"%d" % number))
    assert orphaned.claim(_run(b"0")) is None
    newest = orphaned.claim(_run(b"1499"))
    assert newest is not None
    assert sum(len(run.body) for runs in orphaned._runs.values() for run in runs) == 0
