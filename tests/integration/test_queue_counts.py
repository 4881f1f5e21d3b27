"""Figures of a real broker: of this moment, and to be had whatever else its queues are."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from cluster.operations import down, status_tables
from cluster.operations import status as listing
from cluster.queue import counts as queue_counts
from cluster.queue.counts import work_queues
from scripts.amqp.broker import open_blocking
from scripts.amqp.management import Management, Node, QueueCount
from tests.conftest import Broker
from tests.waiting import until

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
        (counted,) = found(queue_counts.now(management, broker.url), queue_name)
        assert (counted.ready, counted.consumers) == (number, 0)
    assert f"{queue_name} 3" in down._messages_lost(broker.settings, broker.scheduler)
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
    assert found(counted, mine)
    assert found(counted, other)[0].ready == 1
    channel.queue_delete(other)


def test_a_node_says_what_it_has_left(management: Management) -> None:
    (node,) = until(lambda: [node for node in management.nodes() if node.disk_free], "it has figures")
    assert node.name.startswith("rabbit@")
    assert (node.disk_free or 0) > (node.disk_free_limit or 0) == 10**9
    assert (node.disk_free_alarm, node.mem_alarm) == (False, False)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (Node("rabbit@a", 10 * 10**9, 10**9, False, False), []),
        (Node("rabbit@a", None, None, False, False), []),
        (Node("rabbit@a", 0, 10**9, False, False), ["0.0 GB"]),
        (Node("rabbit@a", 2_900_000_000, 10**9, False, False), ["2.9 GB"]),
        (Node("rabbit@a", 10**8, 10**9, True, True), ["0.1 GB", "memory"]),
    ],
)
def test_status_warns_of_a_node_that_is_short_of_something(node: Node, words: list[str]) -> None:
    lines = list(status_tables.remarks([], [], [node], "", ""))
    assert len(lines) == len(words)
    assert all(word in line and node.name in line for word, line in zip(words, lines, strict=True))


def test_what_ended_workers_had_in_hand_is_counted_once() -> None:
    late = [QueueCount("ended", 5, 2, 0), QueueCount("goes on", 5, 2, 1), QueueCount("new", None, None, None)]
    assert [queue.messages for queue in queue_counts.at_rest(late)] == [5, 7, None]


@pytest.mark.parametrize(
    ("known", "ready", "consumers", "counted"),
    [
        # As after a restart: AMQP knows it before it says so, and the API says nothing.
        (None, 0, 0, (None, None)),
        (None, 300_000, 0, (300_000, 0)),
        (None, 0, 1, (0, 1)),
        (5, 0, 0, (0, 0)),
    ],
)
def test_nothing_and_not_known_are_two_things(
    known: int | None, ready: int, consumers: int, counted: tuple[int | None, int | None]
) -> None:
    found = queue_counts._newer(QueueCount("q", known, known, known), ready, consumers)
    assert (found.ready, found.consumers) == counted
    assert found.unacknowledged == known


def test_what_is_not_known_is_a_question_mark_and_null(
    broker: Broker, management: Management, channel: Any, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a queue that the API has no figures of: it is asked for names alone here, which a new queue soon ends."""
    channel.queue_declare(queue_name, durable=True, arguments={"x-queue-type": "quorum"})
    read = Management.read
    monkeypatch.setattr(Management, "read", lambda self, path: read(self, f"{path}?columns=name"))
    counted = found(queue_counts.now(management, broker.url), queue_name)
    assert counted == [QueueCount(queue_name, None, None, None)]
    assert status_tables.queues(work_queues(counted), None).splitlines()[1].split() == [
        queue_name,
        "?",
        "?",
        "0",
        "0",
        "?",
        "?",
        "?",
        "?",
    ]
    assert re.search(rf"those in .*{queue_name}", down._messages_lost(broker.settings, broker.scheduler))
    channel.queue_delete(queue_name)


def test_without_amqp_the_management_api_is_believed(broker: Broker, management: Management) -> None:
    assert queue_counts.now(management, "amqp://127.0.0.1:1") == management.queues()


def test_a_queue_that_does_not_answer_stops_nothing(broker: Broker) -> None:
    away = replace(broker.settings, queue=replace(broker.settings.queue, management_port=1))
    assert "is not known" in down._messages_lost(away, broker.scheduler)
    assert json.loads(listing.View(away, as_json=True, say=print).once())["queues"] is None
    assert str(away.queue.management.url) in listing.View(away, say=print).once().splitlines()[-1]
