"""Taking messages from the queue: declare it, subscribe, and do so again after every kind of trouble."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pika import spec
from pika.exceptions import ChannelClosedByBroker

from scripts.action.output import say
from scripts.amqp.queues import IsStream, count_ready
from scripts.amqp.rights import refusal
from scripts.errors import ClusterError
from scripts.event_loop import EventLoop
from scripts.worker.alive import AliveFile
from scripts.worker.broker_locator import Whereabouts
from scripts.worker.deliveries import Delivery, Link
from scripts.worker.preparation import Preparation
from scripts.worker.reconnect import Reconnecting


class Consumer:
    """Calls `delivered` for each message and `lost` when those that were delivered can no longer be settled."""

    def __init__(
        self,
        loop: EventLoop,
        whereabouts: Whereabouts,
        queue: str,
        jobs: int,
        prefetch: int,
        delivered: Callable[[Delivery], None],
        lost: Callable[[], None],
        alive: AliveFile,
        preparation: Preparation,
        refused: Callable[[str], None],
    ) -> None:
        """`refused` is told why this queue can never be consumed."""
        self._loop = loop
        self._queue = queue
        self._prefetch = prefetch
        # With a third of the waiting messages left, the broker has time to send new ones before they run out.
        self._hold = max(1, (prefetch - jobs) * 2 // 3)
        self._delivered = delivered
        self._on_lost = lost
        self._refused = refused
        self._preparation = preparation
        self._alive = alive
        self._connection = Reconnecting(loop, whereabouts, f"queue {queue!r}", self._opened, self._lost)
        self._link: Any = None
        self._channel: Any = None
        self._consumer_tag: str | None = None
        self._takes_more = True
        self._rests = False
        self._where = ""
        self._open: Any = None
        self.server: dict[str, Any] = {}
        self.started = False
        # Connected, and subscribed unless it rests.
        self.works = False

    def start(self) -> None:
        """Connect and subscribe."""
        self.started = True
        self._alive.not_consuming()
        self._connection.start()

    def cancel(self, stays_healthy: bool = False) -> None:
        """Take no more messages, for good; those that were delivered can still be settled."""
        self._takes_more = False
        if not stays_healthy:
            self._alive.not_consuming()
        self._connection.give_up_when_lost()
        self._unsubscribe()

    def rest(self) -> None:
        """Take no messages until `go_on`, but for `take_one`."""
        self._rests = True
        self._unsubscribe()

    def take_one(self) -> bool:
        """Ask for the next message, and no other before that is settled; `rest` when it is there. False: cannot ask.

        Not by basic.get: that is refused by a queue with a single active consumer.
        """
        return self._subscribe(1)

    def go_on(self) -> None:
        """Take messages again."""
        self._rests = False
        self._unsubscribe()
        self._subscribe(self._prefetch)

    def look(self, looked: Callable[[int, int], None]) -> None:
        """Ask how many messages are ready in the queue and how many consumers it has; no answer without a connection.

        A quorum queue counts every channel that holds messages of it as a consumer.
        """
        if self.works and self._link.open:
            self._channel.queue_declare(
                self._queue,
                passive=True,
                callback=self._loop.guard(
                    lambda frame: looked(frame.method.message_count, frame.method.consumer_count)
                ),
            )

    def get(self, queue: str, got: Callable[[Delivery | None], None]) -> None:
        """Take one message of another queue, if there is one; it is settled like those that were delivered."""
        channel, link, guard = self._channel, self._link, self._loop.guard
        # Nothing that is settled may be lost with a message that takes the worker down.
        link.flush()
        answers: list[Delivery | None] = []

        def message(_channel: Any, method: Any, properties: Any, body: bytes) -> None:
            answers.append(_delivery(link, method, properties, body))
            got(answers[0])

        def empty(_frame: Any) -> None:
            if not answers:
                answers.append(None)
                got(None)

        channel.add_callback(guard(empty), [spec.Basic.GetEmpty])
        channel.basic_get(queue, guard(message))

    def count_ready(self, names: Sequence[str], done: Callable[[int | None], None]) -> None:
        """How many messages are ready in these queues together; None when there is no connection to ask."""
        if self.works and self._open.is_open:
            count_ready(self._open, names, self._loop.guard(done))
        else:
            self._loop.add_callback_threadsafe(lambda: done(None))

    @property
    def failed_before(self) -> int:
        """How many messages stood in the failed queue before the first one was taken."""
        return self._preparation.failed_before or 0

    @property
    def parameters(self) -> Any:
        """pika's parameters of the present connection; None without one."""
        return self._open and self._open.params

    def close(self, closed: Callable[[], None]) -> None:
        """Send what was written and end the connection."""
        self._alive.not_consuming()
        if self._link is not None:
            self._link.flush()
        self._connection.close(closed)

    def _opened(self, connection: Any, where: str) -> None:
        self._open = connection
        self._where = where
        self.server = connection.server_properties or {}

        def prepared(problem: ClusterError | None) -> None:
            if isinstance(problem, IsStream):
                self._refused(str(problem))
            elif problem:
                self._connection.trouble(str(problem))
            else:
                connection.channel(on_open_callback=self._loop.guard(self._use))

        self._preparation.prepare(connection, prepared)

    def _use(self, channel: Any) -> None:
        guard = self._loop.guard
        link = self._link = Link(self._loop, channel, self._hold)
        self._channel = channel
        channel.add_on_close_callback(guard(lambda _channel, reason: self._channel_closed(link, reason)))
        channel.add_on_cancel_callback(guard(lambda _frame: self._cancelled(link)))
        if self._rests:
            self._up()
        else:
            self._subscribe(self._prefetch)

    def _subscribe(self, prefetch: int) -> bool:
        link = self._link
        if link is None or not (self._takes_more and link.open):
            # It was told to stop while it came up, or has no connection at the moment.
            return False

        def message(_channel: Any, method: Any, properties: Any, body: bytes) -> None:
            self._delivered(_delivery(link, method, properties, body))

        guard = self._loop.guard
        self._channel.basic_qos(prefetch_count=prefetch)
        self._consumer_tag = self._channel.basic_consume(
            self._queue, guard(message), callback=guard(lambda _frame: self._consuming())
        )
        return True

    def _unsubscribe(self) -> None:
        tag, self._consumer_tag = self._consumer_tag, None
        if tag is not None and self._channel.is_open:
            self._channel.basic_cancel(tag, callback=self._loop.guard(lambda _frame: None))
            # pika would reject what arrives before the broker's answer, and that counts as failed. We hand it back.
            self._channel._cancelled.discard(tag)

    def _consuming(self) -> None:
        if self._takes_more:
            self._up()
        if self._takes_more and not self._rests:
            say(f"consuming from {self._queue!r} at {self._where}")

    def _up(self) -> None:
        self.works = True
        self._connection.works()
        self._alive.consuming()

    def _channel_closed(self, link: Link, reason: BaseException) -> None:
        if link is self._link and isinstance(reason, ChannelClosedByBroker):
            why = refusal(reason, self._open.params, self._queue)
            self._connection.trouble(f"the broker closed the channel of queue {self._queue!r}: {why}")

    def _cancelled(self, link: Link) -> None:
        if link is self._link:
            self._connection.trouble(f"the broker ended the subscription to {self._queue!r}: was the queue deleted?")

    def _lost(self) -> None:
        self.works = False
        self._open = None
        self._alive.not_consuming()
        link, self._link, self._consumer_tag = self._link, None, None
        if link is not None:
            if link.used:
                self._connection.useful()
            link.lose()
            self._on_lost()


def _delivery(link: Link, method: Any, properties: Any, body: bytes) -> Delivery:
    return Delivery(link, method.delivery_tag, method.redelivered, method.routing_key, properties, body)
