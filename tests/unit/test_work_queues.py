"""Which of the broker's queues make one line for a person."""

from cluster.queue.counts import WorkQueue, work_queues
from scripts.amqp.management import QueueCount


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
