"""The queue of one message, and the wait for its result; of both nothing is left, also a while after a kill."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pika import BasicProperties

from cluster.queue.publishing.sender import PERSISTENT
from cluster.queue.runs.messages import record_of, text_or_bytes
from cluster.queue.runs.record import Record
from scripts.amqp.broker import broker_errors, open_blocking
from scripts.amqp.queues import failed_queue, queue_arguments, retry_queue, side_queues
from scripts.errors import ClusterError
from scripts.worker import headers

_LOOK_S = 0.05


@dataclass(frozen=True)
class Message:
    """A message that is tried: its body, the id that it would have, and the number of its item (0: it is none).

    With a `run` it is what that would send to an action with placeholders, which `columns` fill.
    """

    body: bytes
    id: str
    number: int = 0
    run: str = ""
    columns: Mapping[str, bytes] = field(default_factory=dict)

    def properties(self, reply_to: str) -> BasicProperties:
        """Return its properties, as those of a trial whose result goes to this queue."""
        found: dict[str, Any] = {headers.TRIAL: True}
        if self.number:
            found[headers.ITEM] = self.number
        if self.run:
            columns = {name: text_or_bytes(value) for name, value in self.columns.items()}
            found |= {headers.RUN: self.run, headers.COLUMNS: columns}
        return BasicProperties(
            headers=found, delivery_mode=PERSISTENT, timestamp=int(time.time()), reply_to=reply_to, message_id=self.id
        )


@dataclass(frozen=True)
class Answer:
    """The result of a message, and what its worker would have done with it (empty: one of an earlier version)."""

    record: Record
    verdict: str
    peak_mib: str


class Waiting:
    """The wait for the result of a message that was sent; `answer` is there once it has come."""

    def __init__(self, url: str, connection: Any) -> None:
        self.answer: Answer | None = None
        self._url, self._connection = url, connection

    def came(self, message: Message, _channel: Any, _method: Any, properties: Any, body: bytes) -> None:
        """Take the result."""
        said = {name: str((properties.headers or {}).get(name, "")) for name in (headers.VERDICT, headers.PEAK_MIB)}
        self.answer = Answer(record_of(properties, body, message.number, message.body), *said.values())

    def look(self) -> bool:
        """Wait for some hundredths of a second; return True once the result is there."""
        with broker_errors(self._url):
            self._connection.process_data_events(_LOOK_S)
        return self.answer is not None


@contextmanager
def sent(url: str, queue: str, message: Message, pause_s: float, expires_s: float) -> Iterator[Waiting]:
    """Publish a message to a queue of this name, which is new, and wait for its result; then delete what was made.

    Of a worker whose first retry is after `pause_s`. The broker itself deletes what nobody has used for `expires_s`.
    """
    with broker_errors(url), open_blocking(url) as connection:
        waiting = Waiting(url, connection)
        try:
            _send(connection, queue, message, waiting, pause_s, expires_s)
            yield waiting
        finally:
            with suppress(ClusterError):
                _delete(url, queue)


def _send(connection: Any, queue: str, message: Message, waiting: Waiting, pause_s: float, expires_s: float) -> None:
    channel = connection.channel()
    channel.confirm_delivery()
    # pika's blocking connection tells it nowhere else.
    arguments = queue_arguments(queue, connection._impl.server_properties or {})
    for name in (queue, failed_queue(queue), retry_queue(queue, pause_s)):
        channel.queue_declare(name, durable=True, arguments=arguments[name] | {"x-expires": int(expires_s * 1000)})
    results = channel.queue_declare("", exclusive=True).method.queue
    channel.basic_consume(results, partial(waiting.came, message), auto_ack=True)
    channel.basic_publish("", queue, message.body, message.properties(results), mandatory=True)


def _delete(url: str, queue: str) -> None:
    """Delete all queues that a worker of this one may have made; on a new connection: the other may be lost."""
    with broker_errors(url), open_blocking(url) as connection:
        channel = connection.channel()
        for name in (queue, failed_queue(queue), *side_queues(queue)):
            channel.queue_delete(name)
