"""A connection to a broker, brought to the point where messages can be published to a queue with confirms."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pika.exceptions import ChannelClosedByBroker

from scripts.amqp import broker, queues
from scripts.amqp.batched import BatchedConnection
from scripts.errors import ClusterError, ServiceAway
from scripts.event_loop import EventLoop

# From the first packet to a channel in confirm mode.
OPENING_TIMEOUT_S = 30
# No broker is configured to take less than this, so smaller messages need no trial.
SURELY_TAKEN_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Target:
    """The queue to publish to; `create` makes it when it is missing. `headers` go with every message.

    `retry_for_s`: how long to go on when the broker went away or the queue takes nothing. `find` tells the URL of a
    broker that may move, before each further connection; it may take its time. `service` names such a broker.
    """

    url: str
    queue: str
    create: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    retry_for_s: float = 60
    find: Callable[[], str] | None = None
    service: str = ""

    @property
    def broker(self) -> str:
        """The broker's name, the same however its URL is written and wherever its service has moved."""
        return self.service or broker.identity(self.url)

    @property
    def place(self) -> str:
        """The broker's address for people."""
        return broker.redacted(self.url)


class Link:
    """A connection to the target's broker; a lost one is replaced by a new Link.

    What happens on it is told to the `listener`, a `Publisher`; that it is `lost` is always the last.

    With `check` the queue is looked up (and made), and a message of `largest_bytes` is tried on the broker, so that
    one over its limit (max_message_size) is found before anything is sent.
    """

    def __init__(self, loop: EventLoop, target: Target, listener: Any, check: bool, largest_bytes: int) -> None:
        self._loop = loop
        self._guard = loop.guard
        self._target = target
        self._listener = listener
        self._check = check
        self._largest_bytes = largest_bytes
        self._deadline = loop.call_later(OPENING_TIMEOUT_S, self._too_slow)
        self._connection = BatchedConnection(
            broker.parameters(target.url),
            on_open_callback=self._guard(self._opened),
            on_open_error_callback=self._guard(self._lost),
            on_close_callback=self._guard(self._lost),
            custom_ioloop=loop,
        )

    def close(self) -> bool:
        """Close the connection, if it has come about; return whether `lost` follows.

        (pika fails when it is told to close a connection that is not open yet.)
        """
        if self._connection.is_open:
            self._connection.close()
        return bool(self._connection.is_closing)

    def reopen(self) -> None:
        """Open another channel on this connection; `ready` follows."""
        self._open_channel(self._confirm)

    def _opened(self, connection: Any) -> None:
        connection.add_on_connection_blocked_callback(self._guard(lambda *_: self._listener.blocked(True)))
        connection.add_on_connection_unblocked_callback(self._guard(lambda *_: self._listener.blocked(False)))
        if self._check:
            queues.declare_alone(connection, self._guard(self._looked), self._target.queue, passive=True)
        else:
            self.reopen()

    def _open_channel(self, then: Callable[[Any], None]) -> None:
        def opened(channel: Any) -> None:
            channel.add_on_close_callback(self._guard(closed))
            then(channel)

        def closed(_channel: Any, reason: BaseException) -> None:
            if isinstance(reason, ChannelClosedByBroker):
                self._listener.channel_closed(reason)

        self._connection.channel(on_open_callback=self._guard(opened))

    def _looked(self, answer: Any) -> None:
        """Declare the queue; one that is there as one of ours, since a refusal tells whether it is a stream."""
        queue = self._target.queue
        arguments = queues.queue_arguments(queue, self._connection.server_properties)
        if isinstance(answer, ChannelClosedByBroker):
            if answer.reply_code != 404 or "no queue" not in answer.reply_text:
                self._refuse(f"queue {queue!r} at {self._target.place}: {broker.explain(answer)}")
            elif not self._target.create:
                self._refuse(f"no queue {queue!r} at {self._target.place}: --create makes it")
            else:
                wanted = {name: arguments[name] for name in (queue, queues.failed_queue(queue))}
                queues.declare(self._connection, wanted, self._guard(self._declared), self._listener.say)
        elif not isinstance(answer, BaseException):
            queues.declare(
                self._connection, {queue: arguments[queue]}, self._guard(self._declared), lambda differs: None
            )

    def _declared(self, problem: ClusterError | None) -> None:
        if problem:
            self._refuse(f"{problem} (at {self._target.place})")
            return
        failed = [queues.failed_queue(self._target.queue)]
        queues.count(self._connection, failed, self._guard(self._counted))

    def _counted(self, failed: queues.Counted | None) -> None:
        if failed is None:
            return  # the connection is lost
        self._listener.failed_before(failed.ready)
        self._loop.remove_timeout(self._deadline)  # a large message may take its time
        if self._largest_bytes > SURELY_TAKEN_BYTES:
            self._open_channel(self._send_largest)
        else:
            self.reopen()

    def _refuse(self, reason: str) -> None:
        self._listener.refused(ClusterError(reason))

    def _send_largest(self, channel: Any) -> None:
        """Send to a queue that cannot be there: the broker looks at the size first, then confirms and drops it."""

        def taken(_frame: Any) -> None:
            channel.close()
            self.reopen()

        channel.confirm_delivery(self._guard(taken))
        channel.basic_publish("", f"amq.{uuid.uuid4()}", bytes(self._largest_bytes))

    def _confirm(self, channel: Any) -> None:
        def on(_frame: Any) -> None:
            self._loop.remove_timeout(self._deadline)
            self._listener.ready(channel)

        def returned(_channel: Any, _method: Any, properties: Any, _body: bytes) -> None:
            self._listener.returned(properties.message_id)

        channel.add_on_return_callback(self._guard(returned))
        channel.confirm_delivery(self._guard(self._settled), callback=self._guard(on))

    def _settled(self, frame: Any) -> None:
        method = frame.method
        self._listener.settled(method.delivery_tag, method.multiple, method.NAME == "Basic.Ack")

    def _lost(self, _connection: Any, reason: BaseException) -> None:
        self._loop.remove_timeout(self._deadline)
        self._listener.lost(reason)

    def _too_slow(self) -> None:
        if self._check:
            waited = f"no channel in {OPENING_TIMEOUT_S} s"
            self._listener.refused(ServiceAway(f"the broker at {self._target.place} does not answer: {waited}"))
        else:
            self.close()
