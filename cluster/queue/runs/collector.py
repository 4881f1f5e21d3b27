"""The collector of a run: takes results from their queue, and acknowledges them once they are on the disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

from pika import SelectConnection
from pika.exceptions import ChannelClosedByBroker

from cluster.queue.publishing.link import Target
from cluster.queue.publishing.publisher import RetryDeadline
from scripts.amqp import broker, queues
from scripts.errors import ClusterError, ServiceAway
from scripts.event_loop import EventLoop, in_thread

# Enough on the way to keep the broker busy while the disk is waited for, and to wait for it seldom. Large results are
# few at a time all the same, since the broker sends no faster than they are read.
PREFETCH = 8000
# What waits for its collector at most; workers wait while it is full.
MOST_WAITING_BYTES = 1024**3
_GOODBYE_S = 3.0


class Listener(Protocol):
    """The run that the results are for; always told from the loop."""

    def collecting(self) -> None:
        """Results can come from now on: the queue is there."""

    def came(self, properties: Any, body: bytes, is_repeat: bool) -> None:
        """Take a result, which `is_repeat` where it may have come before; the next `acknowledge` is for it, too."""

    def gone(self) -> None:
        """The queue of results was deleted by somebody."""

    def refused(self, error: ClusterError) -> None:
        """The broker cannot be used, or has been away for too long."""


class Collector:
    """Consumes a queue of results on a connection of its own, which is opened again when it is lost.

    `is_new`: the queue is made; else it has to be there. It takes `prefetch` at a time, on each new connection.
    """

    def __init__(
        self, loop: EventLoop, target: Target, queue: str, listener: Listener, say: Callable[[str], None],
        is_new: bool, prefetch: int = PREFETCH,
    ) -> None:  # fmt: skip
        self._loop, self._target, self._url = loop, target, target.url
        self._queue, self._listener, self._is_new = queue, listener, is_new
        self._say, self._prefetch = say, prefetch
        self._retry = RetryDeadline(target.retry_for_s, say)
        self._connection: Any = None
        self._channel: Any = None
        self._was_there = False
        self._last_tag = self._tag_before = 0
        self._ended: Callable[[bool], None] | None = None
        self._is_deleted = False

    @property
    def is_connected(self) -> bool:
        """True while results can come."""
        return self._channel is not None

    def start(self) -> None:
        """Connect, and consume."""
        how = broker.parameters(self._url)
        how.blocked_connection_timeout = None  # it publishes nothing
        how.client_properties = {"connection_name": f"results of {self._queue}, pid {os.getpid()}"}
        guard = self._loop.guard
        self._connection = SelectConnection(
            how, on_open_callback=guard(self._opened), on_open_error_callback=guard(self._lost),
            on_close_callback=guard(self._lost), custom_ioloop=self._loop,
        )  # fmt: skip

    def acknowledge(self) -> None:
        """Acknowledge all that came so far, where its connection still stands."""
        if self._last_tag and self._channel is not None and self._channel.is_open:
            self._channel.basic_ack(self._last_tag, multiple=True)
            self._last_tag = 0

    def leave(self) -> None:
        """Leave what came last in the queue: the next `acknowledge` is not for it."""
        self._last_tag = self._tag_before

    def take_more(self) -> None:
        """Take as many at a time as keep the broker busy, until the connection is lost."""
        self._channel.basic_qos(prefetch_count=PREFETCH)
        self._channel.basic_consume(self._queue, self._loop.guard(self._came))

    def waiting(self, counted: Callable[[int], None]) -> None:
        """Ask how many results wait in the queue; no answer without a connection."""
        if self._channel is not None and self._channel.is_open:
            answer = self._loop.guard(lambda frame: counted(frame.method.message_count))
            self._channel.queue_declare(self._queue, passive=True, callback=answer)

    def end(self, ended: Callable[[bool], None], delete: bool = False) -> None:
        """Close the connection, deleting the queue on demand; then call `ended` with whether that was done."""
        self._ended = ended
        channel = self._channel
        if channel is None or not channel.is_open:
            self._finish()
            return
        self._loop.call_later(_GOODBYE_S, self._finish)
        if delete:
            channel.queue_delete(self._queue, callback=self._loop.guard(self._deleted))
        else:
            self._close()

    def _deleted(self, _frame: Any) -> None:
        self._is_deleted = True
        self._close()

    def _close(self) -> None:
        if self._connection.is_open:
            self._connection.close()

    def _finish(self) -> None:
        ended, self._ended = self._ended, lambda _deleted: None
        if ended:
            ended(self._is_deleted)

    def _opened(self, connection: Any) -> None:
        if self._is_new and not self._was_there:
            arguments = queues.results_arguments(connection.server_properties or {}, MOST_WAITING_BYTES)
            queues.declare(connection, {self._queue: arguments}, self._loop.guard(self._declared), self._say)
        else:
            queues.declare_alone(connection, self._loop.guard(self._looked), self._queue, passive=True)

    def _declared(self, problem: ClusterError | None) -> None:
        if problem:
            self._listener.refused(ClusterError(f"{problem} (at {self._target.place})"))
        else:
            self._consume()

    def _looked(self, answer: Any) -> None:
        if isinstance(answer, ChannelClosedByBroker):
            # A queue whose node is starting is "not found" too, in other words.
            if answer.reply_code == queues.NOT_THERE and "no queue" in answer.reply_text:
                self._listener.gone()
            else:
                self._again(ServiceAway(f"queue {self._queue!r} at {self._target.place}: {broker.explain(answer)}"))
        elif not isinstance(answer, BaseException):
            self._consume()

    def _consume(self) -> None:
        guard = self._loop.guard

        def opened(channel: Any) -> None:
            channel.add_on_close_callback(guard(closed))
            channel.add_on_cancel_callback(guard(lambda _frame: self._listener.gone()))
            channel.basic_qos(prefetch_count=self._prefetch)
            channel.basic_consume(self._queue, guard(self._came), callback=guard(lambda _frame: consuming(channel)))

        def consuming(channel: Any) -> None:
            if self._retry.trouble:
                self._say("connected again")
            self._retry.success()
            self._channel, self._was_there = channel, True
            self._listener.collecting()

        def closed(channel: Any, reason: BaseException) -> None:
            if isinstance(reason, ChannelClosedByBroker) and channel.connection is self._connection:
                self._again(ServiceAway(f"queue {self._queue!r} at {self._target.place}: {broker.explain(reason)}"))

        self._connection.channel(on_open_callback=guard(opened))

    def _came(self, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        self._tag_before, self._last_tag = self._last_tag, method.delivery_tag
        self._listener.came(properties, body, method.redelivered)

    def _lost(self, connection: Any, reason: BaseException) -> None:
        if connection is not self._connection:
            return
        if self._ended:
            self._finish()
        elif not self._was_there:
            self._listener.refused(broker.error_of(self._url, reason))
        else:
            self._again(ServiceAway(f"the connection to {self._target.place} is lost: {broker.explain(reason)}"))

    def _again(self, trouble: ClusterError) -> None:
        """Connect again later; what came on the lost connection comes once more."""
        connection, self._connection, self._channel, self._last_tag = self._connection, None, None, 0
        if connection is not None and connection.is_open:
            connection.close()
        pause_s = self._retry.failure(trouble)
        if self._retry.is_over():
            self._listener.refused(trouble)
        else:
            self._loop.call_later(pause_s, self._find)

    def _find(self) -> None:
        """Connect again, where the broker is now."""
        if self._ended:
            self._finish()
        elif self._target.find:
            in_thread(self._loop, self._target.find, self._found, lambda why: self._again(ServiceAway(why)))
        else:
            self.start()

    def _found(self, url: str) -> None:
        self._url = url
        self.start()
