"""Copies of messages (to wait, to fail, to go back), published on a connection of their own.

The consuming connection is not used for it: a memory or disk alarm blocks publishing connections, and
acknowledgements would be stuck with the copies.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pika.exceptions import ChannelClosedByBroker

from scripts.action.output import say
from scripts.amqp.queues import declare, failed_queue, queue_arguments
from scripts.amqp.rights import refusal
from scripts.errors import ClusterError
from scripts.event_loop import EventLoop
from scripts.worker.deliveries import Run
from scripts.worker.headers import fit
from scripts.worker.preparation import PolicyWatch
from scripts.worker.reconnect import Locate, Reconnecting

_AGAIN_AFTER_S = 1.0


@dataclass(slots=True, eq=False)
class Copy:
    """A copy of a run's message, for one of the queues that `queue_arguments` knows."""

    run: Run
    properties: Any
    queue: str
    returned: bool = False
    returns: int = 0


class Copies:
    """Sends copies in order, each confirmed by the broker and never unroutable; the connection is made at the first."""

    def __init__(
        self, loop: EventLoop, locate: Locate, queue: str, watch: PolicyWatch, confirmed: Callable[[Run], None]
    ) -> None:
        """`confirmed` is called when the broker has the copy of a run's message safe."""
        self._loop = loop
        self._queue = queue
        self._watch = watch
        self._confirmed = confirmed
        # The worker has declared these two before it takes a message.
        self._known = frozenset({queue, failed_queue(queue)})
        self._declared = set(self._known)
        self._connection = Reconnecting(loop, locate, "copies", self._opened, self._lost)
        self._started = False
        self._open: Any = None
        self._channel: Any = None
        self._declaring = False
        self._tag = 0
        self._waiting: deque[Copy] = deque()
        self._sent: dict[int, Copy] = {}

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

    def _opened(self, connection: Any) -> None:
        self._open = connection
        connection.channel(on_open_callback=self._loop.guard(self._channel_opened))

    def _channel_opened(self, channel: Any) -> None:
        guard = self._loop.guard

        def confirming(_frame: Any) -> None:
            self._channel, self._tag = channel, 0
            self._connection.works()
            self._send_waiting()

        channel.add_on_close_callback(guard(self._channel_closed))
        channel.add_on_return_callback(guard(self._returned))
        channel.confirm_delivery(ack_nack_callback=guard(self._answered), callback=guard(confirming))

    def _channel_closed(self, channel: Any, reason: BaseException) -> None:
        if channel is self._channel and isinstance(reason, ChannelClosedByBroker):
            why = refusal(reason, self._open.params, next((copy.queue for copy in self._sent.values()), ""))
            self._connection.trouble(f"the broker closed the channel for copies: {why}")

    def _lost(self) -> None:
        """Send again, in the old order and on the next connection, what was sent without a confirm."""
        self._channel = self._open = None
        self._declaring = False
        self._declared = set(self._known)
        self._waiting.extendleft(reversed(self._sent.values()))
        self._sent.clear()

    def _send_waiting(self) -> None:
        while self._channel is not None and not self._declaring and self._waiting:
            copy = self._waiting[0]
            if not copy.run.delivery.link.open:
                # The broker has given the original to another worker, or to us again.
                self._waiting.popleft().run.copy = "none"
            elif copy.queue not in self._declared:
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
            self._watch.look(self._open.params, [copy.queue])
            self._send_waiting()

        arguments = queue_arguments(self._queue, self._open.server_properties or {})[copy.queue]
        declare(self._open, {copy.queue: arguments}, self._loop.guard(declared), say)

    def _publish(self, copy: Copy) -> None:
        copy.returned = False
        self._tag += 1
        self._sent[self._tag] = copy
        properties = fit(copy.properties, self._open.params.frame_max)
        self._channel.basic_publish("", copy.queue, copy.run.delivery.body, properties, mandatory=True)

    def _returned(self, _channel: Any, method: Any, properties: Any, _body: bytes) -> None:
        """Note that the queue is not there: the broker says so before it confirms, in the order of publishing."""
        for copy in self._sent.values():
            expected = (copy.queue, copy.properties.message_id)
            if not copy.returned and expected == (method.routing_key, properties.message_id):
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
            say(f"the broker refused a message for {copy.queue!r} (queue full?); trying again")
            self._loop.call_later(_AGAIN_AFTER_S, lambda: self.send(copy))
        elif copy.returned:
            copy.returns += 1
            self._loop.call_later(0 if copy.returns == 1 else _AGAIN_AFTER_S, lambda: self.send(copy))
        else:
            self._connection.useful()
            copy.run.copy = "safe"
            self._confirmed(copy.run)
