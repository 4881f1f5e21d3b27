"""The way to a worker from outside: who asks gets a report, and who pauses the queue is heard."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import InitVar, dataclass
from functools import partial
from typing import Any

import pika
from pika.exceptions import ChannelClosedByBroker

from scripts.action.output import say
from scripts.amqp.queues import NOT_THERE, declare_alone, inbox, paused_queue, refusal
from scripts.amqp.workers import EXCHANGE, LOOK, REPORT, Report, key_of
from scripts.event_loop import EventLoop
from scripts.worker.reconnect import Locate, Reconnecting


@dataclass(eq=False)
class Control:
    """Answers questions with `report`, and tells `paused` whether its queue is, at first and when that changes.

    On a connection of its own, which is there while a kept-alive action loads, and whose answers an alarm of the broker
    may hold up without holding up acknowledgements. A worker whose user may not have such a queue works all the same.
    """

    loop: EventLoop
    locate: InitVar[Locate]
    queue: str
    report: Callable[[Callable[[Report], None]], None]
    paused: Callable[[bool], None]
    properties: Mapping[str, Any]
    _channel: Any = None
    _looks: int = 0
    _is_known: bool = False
    _is_said: bool = False

    def __post_init__(self, locate: Locate) -> None:
        name = f"control of queue {self.queue!r}"
        self._connection = Reconnecting(
            self.loop, locate, name, self._opened, self._lost, self.properties, is_silent=True
        )

    def start(self) -> None:
        """Connect."""
        self._connection.start()

    def close(self, closed: Callable[[], None]) -> None:
        """End the connection."""
        self._connection.close(closed)

    def _opened(self, connection: Any) -> None:
        guard = self.loop.guard
        connection.channel(on_open_callback=guard(partial(self._declare, connection))).add_on_close_callback(
            guard(partial(self._refused, connection))
        )

    def _declare(self, connection: Any, channel: Any) -> None:
        """Have a queue that ends with the connection, and look for the marker when no message can be missed."""
        if not (connection.is_open and channel.is_open):
            return
        name, guard = inbox(self.queue, secrets.token_hex(4)), self.loop.guard

        def consuming(_frame: Any) -> None:
            self._channel = channel
            self._connection.works()
            self._look(connection)

        # Without an answer each: what is refused closes the channel.
        channel.queue_declare(name, exclusive=True, auto_delete=True, arguments={"x-queue-type": "classic"})
        channel.queue_bind(name, EXCHANGE, key_of(self.queue))
        channel.basic_consume(name, guard(self._asked), auto_ack=True, callback=guard(consuming))

    def _refused(self, connection: Any, _channel: Any, reason: BaseException) -> None:
        self._channel = None
        if not isinstance(reason, ChannelClosedByBroker) or connection is not self._connection.connection:
            return
        if not self._is_said:
            self._is_said = True
            why = refusal(reason, connection.params, inbox(self.queue, "00000000"))
            say(f"`./inv status` does not see what this worker does, and `./inv queue.pause` it does not hear: {why}")
        self._look(connection)

    def _lost(self) -> None:
        """Take what is not known as not paused: a worker that never begins would be worse."""
        self._channel = None
        self._looks += 1
        if not self._is_known:
            self._know(False)

    def _know(self, is_paused: bool) -> None:
        self._is_known = True
        self.paused(is_paused)

    def _look(self, connection: Any) -> None:
        """Ask whether the queue is paused; the answer to the last question counts."""
        if not connection.is_open:
            # It is about to end.
            return
        self._looks += 1
        answered = self.loop.guard(partial(self._looked, self._looks))
        declare_alone(connection, answered, paused_queue(self.queue), passive=True)

    def _looked(self, look: int, answer: Any) -> None:
        if look != self._looks:
            return
        if isinstance(answer, ChannelClosedByBroker):
            self._know(answer.reply_code != NOT_THERE)
        elif not isinstance(answer, BaseException):
            self._know(True)

    def _asked(self, channel: Any, _method: Any, properties: Any, _body: bytes) -> None:
        if properties.type == LOOK:
            self._look(channel.connection)
        elif properties.type == REPORT and isinstance(properties.reply_to, str):
            self.report(partial(self._answer, channel, properties))

    def _answer(self, channel: Any, question: Any, report: Report) -> None:
        if channel is self._channel and channel.is_open:
            channel.basic_publish("", question.reply_to, report.encoded(), pika.BasicProperties(type=REPORT))
