"""Figures of a real broker: of this moment, and to be had whatever else its queues are."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from cluster import listing, queue_counts, running
from scripts.amqp.broker import open_blocking
from scripts.amqp.management import Management, QueueCount
from tests.conftest import Broker

pytestmark = pytest.mark.broker


@pytest.fixture
def channel(broker: Broker) -> Iterator[Any]:
    with open_blocking(broker.url) as connection:
        yield connection.channel()


@pytest.fixture
def management(broker: Broker) -> Management:
    return broker.settings.queue.management


def found(queues: list[QueueCount], name: str) -> list[QueueCount]:
    return [queue for queue in queues if queue.name == name]


def test_messages_of_this_moment_are_counted(
    broker: Broker, management: Management, channel: Any, queue_name: str
) -> None:
    channel.queue_declare(queue_name, durable=True, arguments={"x-queue-type": "quorum"})
    channel.confirm_delivery()
    for number in range(1, 4):
        channel.basic_publish("", queue_name, b"x")
        assert found(queue_counts.now(management, broker.url), queue_name) == [QueueCount(queue_name, number, 0, 0)]
    assert f"{queue_name} 3" in running._messages_lost(broker.settings)
    channel.queue_delete(queue_name)
    assert found(queue_counts.now(management, broker.url), queue_name) == []


def test_a_queue_that_only_its_owner_may_ask_hides_no_other(
    broker: Broker, management: Management, channel: Any, queue_name: str
) -> None:
    mine, other = f"{queue_name}-a", f"{queue_name}-b"
    channel.queue_declare(mine, exclusive=True)
    channel.queue_declare(other)
    channel.confirm_delivery()
    channel.basic_publish("", other, b"x")
    with open_blocking(broker.url):
        counted = queue_counts.now(management, broker.url)
    assert [found(counted, name)[0].ready for name in (mine, other)] == [0, 1]
    channel.queue_delete(other)


def test_what_ended_workers_had_in_hand_is_counted_once() -> None:
    late = [QueueCount("ended", 5, 2, 0), QueueCount("goes on", 5, 2, 1)]
    assert [queue.messages for queue in queue_counts.at_rest(late)] == [5, 7]


def test_without_amqp_the_management_api_is_believed(broker: Broker, management: Management) -> None:
    assert queue_counts.now(management, "amqp://127.0.0.1:1") == management.queues()


def test_a_queue_that_does_not_answer_stops_nothing(broker: Broker) -> None:
    away = replace(broker.settings, queue=replace(broker.settings.queue, management_port=1))
    assert "is not known" in running._messages_lost(away)
    assert listing._queues(away.queue.management, broker.url) == []
