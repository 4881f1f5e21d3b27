"""The workers of a queue: asked over the broker what they do, and told to take nothing for a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pika
from pika.exceptions import ChannelClosedByBroker

from scripts.amqp.broker import broker_errors, parameters
from scripts.amqp.queues import NOT_THERE, is_inbox, marker_arguments, owner_of, paused_queue
from scripts.amqp.workers import EXCHANGE, LOOK, REPORT, Report, key_of
from scripts.errors import ClusterError

# A pseudo-queue of RabbitMQ, by which an answer comes to the channel of the question.
_ANSWERS = "amq.rabbitmq.reply-to"

# In an alarm the broker reads nothing from who publishes, not even a good-bye.
_BLOCKED_S = 2.0


def ask(
    url: str, queues: Sequence[str], is_enough: Callable[[Sequence[Report]], bool], within_s: float = 1.0
) -> list[Report]:
    """Return what the workers of these queues say of themselves, by queue and host, as soon as that `is_enough`.

    Those that do not answer in time are left out, as are those of another version that is not understood.

    Raises:
        ClusterError: as `broker_errors`; the broker is in an alarm, too, and takes no questions.
    """
    with opened(url) as connection:
        return ask_on(connection, queues, is_enough, within_s)


def ask_on(
    connection: Any, queues: Sequence[str], is_enough: Callable[[Sequence[Report]], bool], within_s: float
) -> list[Report]:
    """Do the same as `ask` on an open connection; an answer that comes too late is nobody's."""
    found: list[Report] = []

    def came(_channel: Any, _method: Any, _properties: Any, body: bytes) -> None:
        with suppress(ClusterError):
            found.append(Report.read(body))

    # Answers go to the channel of the question, and are dropped where that is closed.
    channel, end_s = connection.channel(), time.monotonic() + within_s
    channel.basic_consume(_ANSWERS, came, auto_ack=True)
    for queue in queues:
        _tell(channel, queue, REPORT, reply_to=_ANSWERS)
    while not is_enough(found) and (left_s := end_s - time.monotonic()) > 0:
        connection.process_data_events(left_s)
    channel.close()
    return sorted(found, key=lambda one: (one.queue, one.host, one.name, one.pid, one.since))


def reports(url: str, names: Sequence[str], within_s: float = 1.0) -> list[Report]:
    """Return what all workers say that are there, for a broker that has queues of these names."""
    inboxes = [name for name in names if is_inbox(name)]
    if not inboxes:
        return []
    queues = sorted({owner_of(name) for name in inboxes})
    return ask(url, queues, lambda found: len(found) >= len(inboxes), within_s)


def pause(url: str, queue: str, flags: str = "") -> bool:
    """Let the workers of a queue take nothing new, those to come as well; False: that was so.

    `flags` mean the broker in a command line.

    Raises:
        ClusterError: no such queue; or as `broker_errors`.
    """
    with opened(url) as connection:
        if not _is_there(connection, queue):
            raise ClusterError(f"there is no queue {queue!r}: ./inv queue.list{flags} shows which there are")
        was_paused = _is_there(connection, paused_queue(queue))
        channel = connection.channel()
        server = connection._impl.server_properties or {}
        channel.queue_declare(paused_queue(queue), durable=True, arguments=marker_arguments(server))
        _tell(channel, queue, LOOK)
    return not was_paused


def resume(url: str, queue: str) -> bool:
    """Let the workers of a queue take messages again; False: it was not paused."""
    with opened(url) as connection:
        was_paused = _is_there(connection, paused_queue(queue))
        channel = connection.channel()
        channel.queue_delete(paused_queue(queue))
        _tell(channel, queue, LOOK)
    return was_paused


def is_paused(url: str, queue: str) -> bool:
    """Return whether a queue is paused."""
    with opened(url) as connection:
        return _is_there(connection, paused_queue(queue))


def _tell(channel: Any, queue: str, kind: str, **more: str) -> None:
    channel.basic_publish(EXCHANGE, key_of(queue), b"", pika.BasicProperties(type=kind, **more))


def _is_there(connection: Any, queue: str) -> bool:
    try:
        connection.channel().queue_declare(queue, passive=True)
    except ChannelClosedByBroker as refused:
        if refused.reply_code == NOT_THERE:
            return False
        raise
    return True


@contextmanager
def opened(url: str) -> Iterator[Any]:
    """Have a connection to the broker for questions to workers; pika's errors come as `broker_errors` makes them."""
    how = parameters(url)
    how.blocked_connection_timeout = _BLOCKED_S
    with broker_errors(url), pika.BlockingConnection(how) as connection:
        yield connection
