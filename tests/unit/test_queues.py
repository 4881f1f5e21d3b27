"""The queues of a work queue on the wire, and which of the broker's make one line for a person."""

from __future__ import annotations

import pytest

from cluster.queue.counts import WorkQueue, work_queues
from scripts.amqp.management import QueueCount
from scripts.amqp.queues import (
    alone_queue,
    checked_name,
    queue_arguments,
    retry_queue,
    side_queues,
    version,
)
from tests.refusing import refusal

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


@pytest.mark.parametrize("name", ["", "amq.q", "a\nb", "a\x7f", "x" * 239, "ü" * 123, "\udcff"])
def test_names_that_cannot_be(name: str) -> None:
    assert repr(name)[:20] in refusal(checked_name, name)


@pytest.mark.parametrize("name", ["q", "x" * 238, "with space", "ünï/çode"])
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


def test_what_belongs_to_a_queue_is_in_its_line() -> None:
    found = work_queues(
        [
            QueueCount("q", 5, 2, 3),
            QueueCount("q.alone", 1, 1, 0),
            QueueCount("q.failed", 7, 0, 0),
            QueueCount("q.retry.1s", 10, 0, 0),
            QueueCount("q.retry.64s", 20, 0, 0),
        ]
    )
    assert found == [WorkQueue("q", waiting=5, in_work=3, to_retry=31, failed=7, workers=3)]


def test_what_is_not_known_of_one_part_is_not_known_of_the_whole() -> None:
    found = work_queues(
        [QueueCount("q", 5, None, 3), QueueCount("q.failed", None, 0, 0), QueueCount("q.retry.1s", None, None, None)]
    )
    assert found == [WorkQueue("q", waiting=5, in_work=None, to_retry=None, failed=None, workers=3)]


def test_a_queue_alone_has_nothing_elsewhere() -> None:
    assert work_queues([QueueCount("q", 5, 2, 3)]) == [WorkQueue("q", 5, 2, 0, 0, 3)]
    assert work_queues([]) == []


def test_names_that_merely_look_so_are_queues_like_any_other() -> None:
    names = ["a.failed", "b", "b.failedness", "b.retry.3s", "c.retry.1s"]
    found = work_queues([QueueCount(name, 1, 0, 0) for name in names])
    assert [one.name for one in found] == names
    assert {(one.to_retry, one.failed) for one in found} == {(0, 0)}


def test_a_failed_queue_that_is_worked_on_has_a_line_of_its_own() -> None:
    consumed = work_queues([QueueCount("q", 0, 0, 1), QueueCount("q.failed", 4, 1, 1)])
    assert consumed == [WorkQueue("q", 0, 0, 0, 0, 1), WorkQueue("q.failed", 4, 1, 0, 0, 1)]
    worked_on_before = [
        QueueCount("q", 0, 0, 1),
        QueueCount("q.failed", 4, 0, 0),
        QueueCount("q.failed.failed", 2, 0, 0),
    ]
    assert work_queues(worked_on_before) == [WorkQueue("q", 0, 0, 0, 0, 1), WorkQueue("q.failed", 4, 0, 0, 2, 0)]


def test_a_failed_queue_at_which_somebody_looks_has_no_line_and_no_figure() -> None:
    """Its messages are in hand meanwhile, and the figure of those is old: it would be none."""
    looked_at = [QueueCount("q", 0, 0, 1), QueueCount("q.failed", 0, 0, 1), QueueCount("q.failed.held", 0, 0, 0)]
    assert work_queues(looked_at) == [WorkQueue("q", 0, 0, 0, None, 1)]


def test_results_of_runs_are_no_work() -> None:
    results = [QueueCount("q.results.0badcafe", 9, 1, 1), QueueCount("gone.results.0badcafe", 2, 0, 0)]
    assert work_queues([QueueCount("q", 5, 2, 3), *results]) == [WorkQueue("q", 5, 2, 0, 0, 3, run="0badcafe")]
    looks_so = [QueueCount("q.results.0badcafe", 9, 1, 1), QueueCount("q.results.0badcafe.failed", 4, 0, 0)]
    assert work_queues(looks_so) == [WorkQueue("q.results.0badcafe", 9, 1, 0, 4, 1)]
