"""Publishing copies of messages (to wait, to fail, to go back) on a connection of its own.

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
from scripts.amqp.queues import Declaration, declare
from scripts.amqp.rights import refusal
from scripts.errors import ClusterError
from scripts.event_loop import EventLoop
from scripts.worker.broker_locator import Whereabouts
from scripts.worker.headers import fitted
from scripts.worker.policy_watch import PolicyWatch
from scripts.worker.reconnect import Reconnecting

_AGAIN_AFTER_S = 1.0


@dataclass(slots=True, eq=False)
class Copy:
    """A message to be published to `queue`, which `declaration` describes for a broker with these properties.

    `confirmed` is called when the broker has it safe. A copy that is not sent yet is dropped when `wanted` says no,
    since its original was given to another worker.
    """

    queue: str
    properties: Any
    body: bytes
    confirmed: Callable[[], None]
    wanted: Callable[[], bool]
    dropped: Callable[[], None]
    declaration: Callable[[dict[str, Any]], Declaration]
    returned: bool = False
    returns: int = 0


class Copies:
    """Sends copies in order, each confirmed by the broker and never unroutable; the connection is made at the first."""

    def __init__(self, loop: EventLoop, whereabouts: Whereabouts, declared: set[str], watch: PolicyWatch) -> None:
        """`declared` names the queues that are there already, as far as is known."""
        self._loop = loop
        self._watch = watch
        self._known = frozenset(declared)
        self._declared = set(declared)
        self._connection = Reconnecting(loop, whereabouts, "copies", self._opened, self._lost)
        self._started = False
        self._server: dict[str, Any] = {}
        self._open: Any = None
        self._channel: Any = None
        self._declaring = False
        self._tag = 0
        self._waiting: deque[Copy] = deque()
        self._sent: dict[int, Copy] = {}

    def send(self, copy: Copy) -> None:
        """Publish it as soon as possible."""
        self._waiting.append(copy)
        if not self._started:
            self._started = True
            self._connection.start()
        self._send_waiting()

    def close(self, closed: Callable[[], None]) -> None:
        """End the connection; what is not confirmed by now is given up."""
        self._connection.close(closed)

    def _opened(self, connection: Any, _where: str) -> None:
        self._server = connection.server_properties or {}
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
        """What was sent without a confirm is sent again on the next connection, in the old order."""
        self._channel = self._open = None
        self._declaring = False
        self._declared = set(self._known)
        self._waiting.extendleft(reversed(self._sent.values()))
        self._sent.clear()

    def _send_waiting(self) -> None:
        while self._channel is not None and not self._declaring and self._waiting:
            copy = self._waiting[0]
            if not copy.wanted():
                self._waiting.popleft()
                copy.dropped()
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

        declare(self._open, [copy.declaration(self._server)], self._loop.guard(declared), say)

    def _publish(self, copy: Copy) -> None:
        copy.returned = False
        self._tag += 1
        self._sent[self._tag] = copy
        properties = fitted(copy.properties, self._open.params.frame_max)
        self._channel.basic_publish("", copy.queue, copy.body, properties, mandatory=True)

    def _returned(self, _channel: Any, method: Any, properties: Any, _body: bytes) -> None:
        """The queue is not there. The broker says so before it confirms, in the order of publishing."""
        for copy in self._sent.values():
            if not copy.returned and (copy.queue, copy.properties.message_id) == (
                method.routing_key,
                properties.message_id,
            ):
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
            copy.confirmed()
