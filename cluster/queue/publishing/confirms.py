"""A connection to a broker, brought to the point where messages can be published to a queue with confirms."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pika.exceptions import ChannelClosedByBroker

from cluster.queue.publishing.batched_connection import CorkedConnection
from scripts.amqp import broker, queues
from scripts.errors import ClusterError, ServiceAway

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
        """Return the broker's name, the same however its URL is written and wherever its service has moved."""
        return self.service or broker.identity(self.url)

    @property
    def place(self) -> str:
        """The broker's address for people."""
        return broker.redacted(self.url)


class Listener(Protocol):
    """Who is told what happens on a link; `lost` is always the last."""

    say: Callable[[str], None]

    def ready(self, channel: Any) -> None:
        """Messages may be published on this channel."""

    def settled(self, tag: int, multiple: bool, accepted: bool) -> None:
        """A confirm (or, not `accepted`, a nack)."""

    def returned(self, message_id: str) -> None:
        """A message that no queue took."""

    def channel_closed(self, reason: ChannelClosedByBroker) -> None:
        """The broker closed the channel that was ready; `Link.reopen` gives a new one."""

    def blocked(self, is_blocked: bool) -> None:
        """The broker stopped reading, or reads again."""

    def refused(self, error: ClusterError) -> None:
        """It cannot be published to this queue; closing the link is left to the listener."""

    def lost(self, reason: BaseException) -> None:
        """The connection is closed, by whomever, or did not come about."""


class Link:
    """One connection to the target's broker; a lost one is replaced by a new Link.

    With `check` the queue is looked up (and made), and a message of `largest_bytes` is tried on the broker, so that
    one over its limit (max_message_size) is found before anything is sent.
    """

    def __init__(self, loop: Any, target: Target, listener: Listener, check: bool, largest_bytes: int = 0) -> None:
        self._loop = loop
        self._target = target
        self._listener = listener
        self._check = check
        self._largest_bytes = largest_bytes
        self._deadline = loop.call_later(OPENING_TIMEOUT_S, self._too_slow)
        self._connection = CorkedConnection(
            broker.parameters(target.url),
            on_open_callback=self._opened,
            on_open_error_callback=self._lost,
            on_close_callback=self._lost,
            custom_ioloop=loop,
        )

    def close(self) -> bool:
        """Close the connection, if it has come about; whether `lost` follows.

        (pika fails when it is told to close a connection that is not open yet.)
        """
        if self._connection.is_open:
            self._connection.close()
        return bool(self._connection.is_closing)

    def reopen(self) -> None:
        """Open another channel on this connection; `ready` follows."""
        self._open_channel(self._confirm, self._listener.channel_closed)

    def _opened(self, connection: Any) -> None:
        connection.add_on_connection_blocked_callback(lambda *_: self._listener.blocked(True))
        connection.add_on_connection_unblocked_callback(lambda *_: self._listener.blocked(False))
        if self._check:
            self._open_channel(self._find_queue, self._not_found)
        else:
            self.reopen()

    def _open_channel(self, then: Callable[[Any], None], closed: Callable[[ChannelClosedByBroker], None]) -> None:
        def opened(channel: Any) -> None:
            channel.add_on_close_callback(told)
            then(channel)

        def told(_channel: Any, reason: BaseException) -> None:
            if isinstance(reason, ChannelClosedByBroker):
                closed(reason)

        self._connection.channel(on_open_callback=opened)

    def _find_queue(self, channel: Any) -> None:
        def found(_frame: Any) -> None:
            channel.close()
            self._open_channel(self._ask_kind, self._not_as_ours)

        channel.queue_declare(self._target.queue, passive=True, callback=found)

    def _ask_kind(self, channel: Any) -> None:
        """Declare the queue that is there as one of ours: a refusal tells how it differs."""

        def same(_frame: Any) -> None:
            channel.close()
            self._try_largest()

        arguments = queues.work_declaration(self._target.queue, self._connection.server_properties).arguments
        channel.queue_declare(self._target.queue, durable=True, arguments=arguments, callback=same)

    def _not_as_ours(self, reason: ChannelClosedByBroker) -> None:
        if queues.is_stream(reason):
            self._listener.refused(ClusterError(f"{queues.IsStream(self._target.queue)}, at {self._target.place}"))
        else:
            self._try_largest()

    def _not_found(self, reason: ChannelClosedByBroker) -> None:
        queue, place = self._target.queue, self._target.place
        if reason.reply_code != 404 or "no queue" not in reason.reply_text:
            self._listener.refused(ClusterError(f"queue {queue!r} at {place}: {broker.explain(reason)}"))
        elif not self._target.create:
            self._listener.refused(ClusterError(f"no queue {queue!r} at {place}: --create makes it"))
        else:
            declarations = queues.work_declarations(queue, self._connection.server_properties)
            queues.declare(self._connection, declarations, self._declared, self._listener.say)

    def _declared(self, refusal: ClusterError | None) -> None:
        if refusal:
            self._listener.refused(ClusterError(f"{refusal}, says the broker at {self._target.place}"))
        else:
            self._try_largest()

    def _try_largest(self) -> None:
        self._loop.remove_timeout(self._deadline)  # a large message may take its time
        if self._largest_bytes <= SURELY_TAKEN_BYTES:
            self.reopen()
            return
        self._open_channel(self._send_largest, self._listener.channel_closed)

    def _send_largest(self, channel: Any) -> None:
        """To a queue that cannot be there: the broker looks at the size first, then confirms and drops it."""

        def taken(_frame: Any) -> None:
            channel.close()
            self.reopen()

        channel.confirm_delivery(taken)
        channel.basic_publish("", f"amq.{uuid.uuid4()}", bytes(self._largest_bytes))

    def _confirm(self, channel: Any) -> None:
        def on(_frame: Any) -> None:
            self._loop.remove_timeout(self._deadline)
            self._listener.ready(channel)

        channel.add_on_return_callback(lambda _channel, _method, properties, _body: self._returned(properties))
        channel.confirm_delivery(self._settled, callback=on)

    def _settled(self, frame: Any) -> None:
        method = frame.method
        self._listener.settled(method.delivery_tag, method.multiple, method.NAME == "Basic.Ack")

    def _returned(self, properties: Any) -> None:
        self._listener.returned(properties.message_id)

    def _lost(self, _connection: Any, reason: BaseException) -> None:
        self._loop.remove_timeout(self._deadline)
        self._listener.lost(reason)

    def _too_slow(self) -> None:
        if self._check:
            waited = f"no channel in {OPENING_TIMEOUT_S} s"
            self._listener.refused(ServiceAway(f"the broker at {self._target.place} does not answer: {waited}"))
        else:
            self.close()
