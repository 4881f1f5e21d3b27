"""Messages that come back from the failed queue, by the means that everybody has: each begins anew, once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.worker_rig import Rig
from tests.waiting import until

pytestmark = pytest.mark.broker

_KEY_AND_ATTEMPT = 'echo "$AMQP_ROUTING_KEY $AMQP_ATTEMPT"'


def _look(rig: Rig, queue: str, times: int = 1) -> None:
    """Look at a message as the management page does: it goes back to the queue, which counts that."""
    for _ in range(times):
        looked = {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}
        assert len(rig.api("POST", f"queues/%2f/{queue}/get", looked)) == 1
        until(lambda: rig.ready(queue) == 1, "it is back")


def _fail(rig: Rig, **properties: Any) -> None:
    """Bring a message into the failed queue by a worker."""
    worker = rig.worker("--attempts", "2", "--backoff", "0", rig.action("echo sorry >&2; exit 3", "failing"))
    rig.publish(b"x", **properties)
    until(lambda: rig.ready(rig.failed) == 1, "it failed")
    assert worker.stop() == 0


def _move_back(rig: Rig) -> None:
    """Move it as a shovel does: published again with all of its properties, the broker's count among them."""
    (message,) = rig.take(rig.failed)
    with rig.channel() as channel:
        channel.confirm_delivery()
        channel.basic_publish("", rig.queue, message.body, message.properties, mandatory=True)


def test_it_has_all_its_attempts_again_and_the_new_failure_its_own_words(rig: Rig) -> None:
    _fail(rig)
    _look(rig, rig.failed, times=5)
    _move_back(rig)
    worker = rig.worker("--attempts", "3", "--backoff", "0", rig.action(f"{_KEY_AND_ATTEMPT}; exit 4"))
    (message,) = rig.take_failed()
    assert worker.out.decode().splitlines() == [f"{rig.queue} {attempt}" for attempt in (1, 2, 3)]
    assert "with nothing beside it" not in worker.log
    assert message.headers["x-cluster-attempt"] == 3
    assert message.headers["x-cluster-reason"] == "exit 4"
    assert "x-cluster-stderr" not in message.headers
    (earlier,) = message.headers["x-cluster-history"]
    assert earlier.startswith("exit 3, in attempt 2, at ")


def test_it_begins_anew_once_only_however_many_workers_it_takes_down(rig: Rig) -> None:
    """The broker's count of this queue still counts, before there is a copy and after."""
    runs = rig.tmp / "runs"
    _fail(rig)
    _look(rig, rig.failed, times=5)
    _move_back(rig)
    action = rig.action(f"{_KEY_AND_ATTEMPT} >> {runs}; kill -9 $PPID; exit 1")
    for _ in range(3):
        worker = rig.worker(action, consuming=False)
        until(lambda w=worker: w.process.poll() is not None, "it is taken down")
    last = rig.worker(action)
    (message,) = rig.take_failed()
    assert runs.read_text().splitlines() == [f"{rig.queue} {attempt}" for attempt in (1, 2, 3)]
    assert last.process.poll() is None
    assert message.headers["x-cluster-attempt"] == 3
    assert len(message.headers["x-cluster-history"]) == 1


def test_a_worker_on_the_failed_queue_does_not_count_who_looked(rig: Rig) -> None:
    _fail(rig)
    _look(rig, rig.failed, times=5)
    done = rig.tmp / "done"
    worker = rig.worker("--backoff", "0", rig.action(f"{_KEY_AND_ATTEMPT} >> {done}; exit 65"), queue=rig.failed)
    failed_again = f"{rig.failed}.failed"
    (message,) = rig.take(failed_again)
    assert done.read_text() == f"{rig.queue} 1\n"
    assert worker.stop() == 0
    assert rig.ready(rig.failed) == 0
    assert message.headers["x-cluster-reason"] == "exit 65"
    with rig.channel() as channel:
        for queue in (failed_again, f"{rig.failed}.retry.1s"):
            channel.queue_delete(queue)


def test_a_message_that_takes_down_workers_on_the_failed_queue_ends(rig: Rig) -> None:
    runs = rig.tmp / "runs"
    _fail(rig)
    action = rig.action(f"{_KEY_AND_ATTEMPT} >> {runs}; kill -9 $PPID; exit 1")
    for _ in range(3):
        worker = rig.worker(action, consuming=False, queue=rig.failed)
        until(lambda w=worker: w.process.poll() is not None, "it is taken down")
    rig.worker(action, queue=rig.failed)
    rig.take(f"{rig.failed}.failed")
    assert runs.read_text().splitlines() == [f"{rig.queue} {attempt}" for attempt in (1, 2, 3)]
    with rig.channel() as channel:
        for queue in (f"{rig.failed}.failed", f"{rig.failed}.alone", f"{rig.failed}.retry.1s"):
            channel.queue_delete(queue)


def test_what_the_broker_put_into_the_failed_queue_begins_anew_too(rig: Rig) -> None:
    """By a time to live or a delivery limit: it has been tried, and has no reason of ours."""
    rig.declare(**{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": rig.failed})
    rig.declare(rig.failed)
    rig.publish(b"x", headers={"x-cluster-attempt": 2}, expiration="1")
    until(lambda: rig.ready(rig.failed) == 1, "it expired")
    _move_back(rig)
    worker = rig.worker("--backoff", "0", rig.action(f"{_KEY_AND_ATTEMPT}; exit 1"))
    (message,) = rig.take_failed()
    assert worker.out.decode().splitlines() == [f"{rig.queue} {attempt}" for attempt in (1, 2, 3)]
    assert message.headers["x-cluster-history"][0].startswith("expired in queue ")


def test_a_suspect_has_the_routing_key_of_its_sender(rig: Rig) -> None:
    rig.declare()
    rig.publish(b"x")
    rig.lose(times=2)
    worker = rig.worker(rig.action(_KEY_AND_ATTEMPT))
    until(lambda: worker.out.decode() == f"{rig.queue} 3\n", "its last attempt")
