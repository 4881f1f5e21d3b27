from __future__ import annotations

from typing import Any

import pika

from scripts.worker.deliveries import Delivery
from scripts.worker.orphaned_runs import Unclaimed
from scripts.worker.runs import Run


def _delivery(body: bytes, message_id: str | None = "id") -> Any:
    link: Any = None
    return Delivery(link, 1, True, "q", pika.BasicProperties(message_id=message_id), body)


def _run(body: bytes, message_id: str | None = "id") -> Run:
    return Run(_delivery(body, message_id), "id")


def test_the_same_message_is_claimed_once() -> None:
    unclaimed, run, again = Unclaimed(), _run(b"x"), _delivery(b"x")
    unclaimed.add(run)
    assert unclaimed.claim(again) is run
    assert run.delivery is again
    assert unclaimed.claim(_delivery(b"x")) is None
    assert not unclaimed


def test_another_body_or_id_is_another_message() -> None:
    unclaimed = Unclaimed()
    unclaimed.add(_run(b"x"))
    assert unclaimed.claim(_delivery(b"y")) is None
    assert unclaimed.claim(_delivery(b"x", "other")) is None
    assert unclaimed.claim(_delivery(b"x", None)) is None
    assert unclaimed


def test_equal_messages_without_id_are_claimed_one_by_one() -> None:
    unclaimed, runs = Unclaimed(), [_run(b"x", None), _run(b"x", None)]
    for run in runs:
        unclaimed.add(run)
    assert [unclaimed.claim(_delivery(b"x", None)) for _ in range(3)] == [*runs, None]


def test_the_oldest_are_forgotten_and_bodies_are_not_kept() -> None:
    unclaimed = Unclaimed()
    for number in range(1500):
        unclaimed.add(_run(b"%d" % number))
    assert unclaimed.claim(_delivery(b"0")) is None
    newest = unclaimed.claim(_delivery(b"1499"))
    assert newest is not None
    assert sum(len(run.delivery.body) for runs in unclaimed._runs.values() for run in runs) == 0
