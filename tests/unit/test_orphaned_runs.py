from __future__ import annotations

from typing import Any

import pika

from scripts.worker.deliveries import Delivery, OrphanedRuns, Run


def _delivery(body: bytes, message_id: str | None = "id") -> Any:
    link: Any = None
    return Delivery(link, 1, True, "q", pika.BasicProperties(message_id=message_id), body)


def _run(body: bytes, message_id: str | None = "id") -> Run:
    return Run(_delivery(body, message_id), "id")


def test_the_same_message_is_claimed_once() -> None:
    orphaned, run, again = OrphanedRuns(), _run(b"x"), _delivery(b"x")
    orphaned.add(run)
    assert orphaned.claim(again) is run
    assert run.delivery is again
    assert orphaned.claim(_delivery(b"x")) is None


def test_another_body_or_id_is_another_message() -> None:
    orphaned = OrphanedRuns()
    orphaned.add(_run(b"x"))
    assert orphaned.claim(_delivery(b"y")) is None
    assert orphaned.claim(_delivery(b"x", "other")) is None
    assert orphaned.claim(_delivery(b"x", None)) is None
    assert orphaned.claim(_delivery(b"x")) is not None


def test_equal_messages_without_id_are_claimed_one_by_one() -> None:
    orphaned, runs = OrphanedRuns(), [_run(b"x", None), _run(b"x", None)]
    for run in runs:
        orphaned.add(run)
    assert [orphaned.claim(_delivery(b"x", None)) for _ in range(3)] == [*runs, None]


def test_the_oldest_are_forgotten_and_bodies_are_not_kept() -> None:
    orphaned = OrphanedRuns()
    for number in range(1500):
        orphaned.add(_run(b"%d" % number))
    assert orphaned.claim(_delivery(b"0")) is None
    newest = orphaned.claim(_delivery(b"1499"))
    assert newest is not None
    assert sum(len(run.delivery.body) for runs in orphaned._runs.values() for run in runs) == 0
