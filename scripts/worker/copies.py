"""Copies of messages, and their results: published in order, each confirmed by the broker.

They go over a connection of their own: a memory or disk alarm blocks publishing connections, and acknowledgements would
be stuck with the copies.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from typing import Any

from pika.exceptions import ChannelClosedByBroker

from scripts.action.output import say
from scripts.amqp import queues
from scripts.backoff import growing_s
from scripts.errors import ClusterError
from scripts.event_loop import EventLoop
from scripts.worker import headers
from scripts.worker.consumer import QueueWarnings
from scripts.worker.deliveries import Run
from scripts.worker.reconnect import Locate, Reconnecting
from scripts.worker.results import MOST_BYTES

# Pauses before what was refused or returned is sent again: a full queue of results is a normal state.
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 1.0

# A queue that was full in this time, and is again, is no news.
_SAID_FOR_S = 60.0

# RabbitMQ 3: "message size 200 larger than configured max size 100", 4: "is larger than".
_TOO_LARGE = re.compile(r"message size (\d+).* larger than (?:configured )?max size (\d+)")


@dataclass(slots=True, eq=False)
class Copy:
    """A message on its way to a queue: a copy of a run's message, or with a `body` its result.

    `gone` is called where there is no such queue; None: it is one that `queue_arguments` knows, and is made.
    `too_large` is called with the reason why the broker will never take it.
    """

    run: Run
    properties: Any
    queue: str
    body: bytes | None = None
    gone: Callable[[], None] | None = None
    too_large: Callable[[str], None] | None = None
    returned: bool = False
    tries: int = 0


@dataclass(eq=False)
class Copies:
    """Sends copies in order, each confirmed by the broker and never unroutable; the connection is made at the first.

    `confirmed` is called when the broker has the copy of a run's message safe.
    """

    loop: EventLoop
    locate: InitVar[Locate]
    queue: str
    results: str | None
    warnings: QueueWarnings
    confirmed: Callable[[Run], None]
    _started: bool = False
    _channel: Any = None
    _declaring: bool = False
    _tag: int = 0
    _waiting: deque[Copy] = field(default_factory=deque)
    _sent: dict[int, Copy] = field(default_factory=dict)
    _full_at: dict[str, float] = field(default_factory=dict)

    def __post_init__(self, locate: Locate) -> None:
        failed_queue = queues.failed_queue(self.queue)
        # The worker has declared these before it takes a message.
        self._known = frozenset({self.queue, failed_queue, self.results or self.queue})
        self._declared = set(self._known)
        self._connection = Reconnecting(
            self.loop, locate, "copies", lambda _: self._connection.open_channel(failed_queue, self._opened), self._lost
        )

    def send(self, copy: Copy) -> None:
        """Publish it as soon as possible."""
        copy.run.copy = "sent"
        self._waiting.append(copy)
        if not self._started:
            self._started = True
            self._connection.start()
        self._send_waiting()

    def close(self, closed: Callable[[], None]) -> None:
        """End the connection, and give up what is not confirmed by now."""
        self._connection.close(closed)

    def _opened(self, channel: Any) -> None:
        guard = self.loop.guard

        def confirming(_frame: Any) -> None:
            self._channel, self._tag = channel, 0
            self._connection.works()
            self._send_waiting()

        channel.add_on_return_callback(guard(self._returned))
        channel.add_on_close_callback(guard(self._closed))
        channel.confirm_delivery(ack_nack_callback=guard(self._answered), callback=guard(confirming))

    def _lost(self) -> None:
        """Send again, in the old order and on the next connection, what was sent without a confirm."""
        self._channel = None
        self._declaring = False
        self._declared = set(self._known)
        self._waiting.extendleft(reversed(self._sent.values()))
        self._sent.clear()

    def _send_waiting(self) -> None:
        while self._channel is not None and not self._declaring and self._waiting:
            copy = self._waiting[0]
            if not copy.run.link.open:
                # The broker has given the original to another worker, or to us again.
                self._waiting.popleft().run.copy = "none"
            elif copy.gone is None and copy.queue not in self._declared:
                self._declare(copy)
                return
            else:
                self._publish(self._waiting.popleft())

    def _declare(self, copy: Copy) -> None:
        self._declaring = True

        def declared(problem: ClusterError | None) -> None:
            if problem:
                self._connection.trouble(str(problem))
                return
            self._declaring = False
            self._declared.add(copy.queue)
            self.warnings.look(self._connection.connection.params, [copy.queue])
            self._send_waiting()

        connection = self._connection.connection
        arguments = queues.queue_arguments(self.queue, connection.server_properties or {}, self.results)[copy.queue]
        queues.declare(connection, {copy.queue: arguments}, self.loop.guard(declared), self.warnings.say)

    def _publish(self, copy: Copy) -> None:
        copy.returned = False
        self._tag += 1
        self._sent[self._tag] = copy
        frame_max = self._connection.connection.params.frame_max
        if copy.body is None or frame_max < MOST_BYTES:
            headers.fit(copy.properties, frame_max)
        body = copy.run.body if copy.body is None else copy.body
        self._channel.basic_publish("", copy.queue, body, copy.properties, mandatory=True)

    def _returned(self, _channel: Any, method: Any, properties: Any, _body: bytes) -> None:
        """Note that the queue is not there: the broker says so before it confirms, in the order of publishing."""
        found = (method.routing_key, properties.message_id, properties.correlation_id)
        for copy in self._sent.values():
            expected = (copy.queue, copy.properties.message_id, copy.properties.correlation_id)
            if not copy.returned and expected == found:
                copy.returned = True
                self._declared.discard(copy.queue)
                return

    def _answered(self, frame: Any) -> None:
        method = frame.method
        tags = [tag for tag in self._sent if tag <= method.delivery_tag] if method.multiple else [method.delivery_tag]
        refused = type(method).__name__ == "Nack"
        for tag in tags:
            copy = self._sent.pop(tag, None)
            if copy is not None:
                self._settle(copy, refused)
        self._send_waiting()

    def _settle(self, copy: Copy, refused: bool) -> None:
        if refused:
            self._say_full(copy.queue)
            copy.tries += 1
            self._send_later(copy, growing_s(_FIRST_PAUSE_S, copy.tries, _LONGEST_PAUSE_S))
        elif copy.returned and copy.gone:
            copy.run.copy = "safe"
            copy.gone()
        elif copy.returned:
            copy.tries += 1
            self._send_later(copy, growing_s(_FIRST_PAUSE_S, copy.tries - 1, _LONGEST_PAUSE_S))
        else:
            self._connection.useful()
            copy.run.copy = "safe"
            self.confirmed(copy.run)

    def _send_later(self, copy: Copy, pause_s: float) -> None:
        self.loop.call_later(pause_s, lambda: self.send(copy))

    def _say_full(self, queue: str) -> None:
        """Say that a queue is full, unless that was so a moment ago."""
        now = time.monotonic()
        self._full_at = {name: at for name, at in self._full_at.items() if now - at < _SAID_FOR_S}
        if queue not in self._full_at:
            say(f"the broker takes no more for {queue!r} (queue full?): waiting until it does")
        self._full_at[queue] = now

    def _closed(self, _channel: Any, reason: BaseException) -> None:
        """Send no more what is larger than the broker ever takes: it has closed the channel for that."""
        match = isinstance(reason, ChannelClosedByBroker) and _TOO_LARGE.search(reason.reply_text)
        if not match:
            return
        for copy in self._waiting:
            if copy.too_large and copy.body is not None and len(copy.body) == int(match[1]):
                self._waiting.remove(copy)
                copy.too_large(f"its result of {match[1]} bytes is over the broker's max_message_size, {match[2]}")
                return
