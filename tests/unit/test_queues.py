from __future__ import annotations

import pytest

from scripts.amqp.queues import (
    alone_queue,
    checked_name,
    queue_arguments,
    retry_queue,
    side_queues,
    version,
)
from scripts.errors import ClusterError

NEW, OLD = {"version": "4.0.5"}, {"version": "3.10.8"}


def test_pauses_are_rounded_up_to_a_queue() -> None:
    pauses = [0, 0.2, 1, 1.5, 2, 3, 33, 64, 1000]
    assert [retry_queue("q", pause) for pause in pauses] == [
        f"q.retry.{pause}s" for pause in (1, 1, 1, 2, 2, 4, 64, 64, 64)
    ]


def test_work_queues_by_the_broker_s_version() -> None:
    new, old = queue_arguments("q", NEW), queue_arguments("q", OLD)
    assert new["q"] == {
        "x-queue-type": "quorum", "x-delivery-limit": 100, "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "q.failed", "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish", "x-consumer-timeout": 30 * 24 * 3600 * 1000,
    }  # fmt: skip
    assert new["q.failed"] == {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}
    assert old["q"] == old["q.failed"] == {"x-queue-type": "quorum"}
    assert list(new) == list(old) == ["q", "q.failed", *side_queues("q")]


@pytest.mark.parametrize(("name", "ttl_ms"), [(retry_queue("q", 3), 4000), (alone_queue("q"), 10_000)])
def test_what_waits_comes_back(name: str, ttl_ms: int) -> None:
    assert queue_arguments("q", NEW)[name] == {
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
