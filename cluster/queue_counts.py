"""How many messages are in the queues of a broker, each figure from whom knows it best."""

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
    """All queues, by name: what is ready and who consumes as it is now, over AMQP, where that can be asked.

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
    """The same when workers have ended: where nobody consumes, nothing is in hand, whatever the API still says."""
    return [queue if queue.consumers else replace(queue, unacknowledged=0) for queue in queues]


def _fresh(connection: Any, found: Sequence[QueueCount]) -> Iterator[QueueCount]:
    """A round trip each; a refusal costs a channel."""
    channel = connection.channel()
    for queue in found:
        try:
            method = channel.queue_declare(queue.name, passive=True).method
        except ChannelClosedByBroker as refusal:
            channel = connection.channel()
            if refusal.reply_code != _NOT_THERE:  # another connection's own, or not for this user
                yield queue
        else:
            yield replace(queue, ready=method.message_count, consumers=method.consumer_count)
