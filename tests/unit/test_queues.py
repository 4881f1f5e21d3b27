from __future__ import annotations

import pytest

from scripts.amqp.queues import (
    alone_declaration,
    checked_name,
    retry_declaration,
    retry_queue,
    version,
    work_declarations,
)
from scripts.errors import ClusterError

NEW, OLD = {"version": "4.0.5"}, {"version": "3.10.8"}


def test_pauses_are_rounded_up_to_a_queue() -> None:
    pauses = [0, 0.2, 1, 1.5, 2, 3, 33, 64, 1000]
    assert [retry_queue("q", pause) for pause in pauses] == [
        f"q.retry.{pause}s" for pause in (1, 1, 1, 2, 2, 4, 64, 64, 64)
    ]


def test_work_queues_by_the_broker_s_version() -> None:
    new_work, new_failed = work_declarations("q", NEW)
    assert (new_work.name, new_failed.name) == ("q", "q.failed")
    assert new_work.arguments == {
        "x-queue-type": "quorum", "x-delivery-limit": 100, "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "q.failed", "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish", "x-consumer-timeout": 30 * 24 * 3600 * 1000,
    }  # fmt: skip
    assert new_failed.arguments == {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}
    assert [declaration.arguments for declaration in work_declarations("q", OLD)] == [{"x-queue-type": "quorum"}] * 2


def test_what_waits_comes_back() -> None:
    for declaration, name, ttl_ms in (
        (retry_declaration("q", 3, NEW), "q.retry.4s", 4000),
        (alone_declaration("q", NEW), "q.alone", 10_000),
    ):
        assert declaration.name == name
        assert declaration.arguments == {
            "x-queue-type": "quorum", "x-delivery-limit": 1_000_000, "x-message-ttl": ttl_ms,
            "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "q",
            "x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish",
        }  # fmt: skip


@pytest.mark.parametrize("name", ["", "amq.q", "a\nb", "a\x7f", "x" * 246, "ü" * 123, "\udcff"])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(ClusterError, match="cannot be a queue's name"):
        checked_name(name)


@pytest.mark.parametrize("name", ["q", "x" * 245, "with space", "ünï/çode"])
def test_names_that_can_be(name: str) -> None:
    assert checked_name(name) == name


def test_versions() -> None:
    assert [version({"version": text}) for text in ("4.0.5", "3.13.7-rc.1", "", "x")] == [
        (4, 0),
        (3, 13),
        (0, 0),
        (0, 0),
    ]
    assert version({}) == (0, 0)
