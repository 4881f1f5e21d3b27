"""Sizes of a broker's queues: ready and consumers over AMQP, unacknowledged from the management API."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from pika.exceptions import ChannelClosedByBroker

from scripts.amqp.broker import broker_errors, open_blocking
from scripts.amqp.management import Management, QueueCount
from scripts.errors import ClusterError

_NOT_THERE = 404  # AMQP's reply code


def now(management: Management, url: str) -> list[QueueCount]:
    """Return all queues by name, with what is ready and consumers of this moment where AMQP tells them.

    What is in hand the management API alone knows: that figure is up to ten seconds old.

    Raises:
        ClusterError: the management API, which alone knows the names, does not answer.
    """
    found = management.queues()
    try:
        with broker_errors(url), open_blocking(url) as connection:
            return list(_fresh(connection, found))
    except ClusterError:
        return found


def at_rest(queues: Sequence[QueueCount]) -> list[QueueCount]:
    """Correct the counts when workers have ended: where nobody consumes, nothing is in hand."""
    return [replace(queue, unacknowledged=0) if queue.consumers == 0 else queue for queue in queues]


def _fresh(connection: Any, found: Sequence[QueueCount]) -> Iterator[QueueCount]:
    """Yield the counts of this moment: a round trip each; a refusal costs a channel."""
    channel = connection.channel()
    for queue in found:
        try:
            method = channel.queue_declare(queue.name, passive=True).method
        except ChannelClosedByBroker as refusal:
            channel = connection.channel()
            if refusal.reply_code != _NOT_THERE:  # another connection's own, or not for this user
                yield queue
        else:
            yield _newer(queue, method.message_count, method.consumer_count)


def _newer(queue: QueueCount, ready: int, consumers: int) -> QueueCount:
    """Return the count with what AMQP says of this moment.

    Of a quorum queue that is not up yet AMQP says that nothing is in it; the API has no figure then. It has none of an
    empty queue that was just made, either: that is not known for some seconds, too.
    """
    if not ready and not consumers and queue.ready is None:
        return queue
    return replace(queue, ready=ready, consumers=consumers)
