"""What the broker itself takes out of the work queue: it goes to the failed queue, and nothing is stuck behind it."""

from __future__ import annotations

import pytest

from scripts.amqp.queues import DELIVERY_LIMIT, queue_arguments, version
from tests.integration.amqp_1_0 import publish_undeliverable
from tests.integration.worker_rig import Rig
from tests.waiting import until

pytestmark = pytest.mark.broker


def as_a_worker_does(rig: Rig, limit: int = DELIVERY_LIMIT) -> None:
    """Make the two queues; with another delivery limit for a short test."""
    if version(rig.server) < (4, 0):
        pytest.skip("RabbitMQ 3 has no limit, and nothing that cannot be delivered")
    rig.declare(rig.failed)
    rig.declare(**queue_arguments(rig.queue, rig.server)[rig.queue] | {"x-delivery-limit": limit})


def test_a_message_that_cannot_be_delivered_blocks_nothing_and_is_kept(rig: Rig) -> None:
    as_a_worker_does(rig, limit=3)
    publish_undeliverable(rig.url, rig.queue, b"poison")
    rig.publish(b"good\n")
    worker = rig.worker("cat", consuming=False)
    until(lambda: worker.out == b"good\n", "the one behind it runs")
    until(lambda: rig.ready(rig.failed) == 1, "it is in the failed queue")
    assert worker.log.count("INTERNAL_ERROR") == 1
    assert worker.stop() == 0


def test_what_expires_by_the_sender_s_own_wish_is_kept_with_the_reason(rig: Rig) -> None:
    as_a_worker_does(rig)
    rig.publish(b"late", expiration="1")
    (message,) = rig.take_failed()
    assert message.body == b"late"
    assert message.headers["x-last-death-reason"] == "expired"
    assert message.headers["x-last-death-queue"] == rig.queue


def test_what_is_lost_too_often_is_kept_with_the_reason(rig: Rig) -> None:
    as_a_worker_does(rig, limit=2)
    rig.publish(b"x")
    rig.lose(times=3)
    (message,) = rig.take_failed()
    assert message.headers["x-last-death-reason"] == "delivery_limit"
