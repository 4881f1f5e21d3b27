"""The consumer of the queue: it prepares, subscribes, and does so again after every kind of trouble."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import InitVar, dataclass, field
from functools import partial
from typing import Any

from pika import spec
from pika.exceptions import ChannelClosedByBroker

from scripts.action.output import say
from scripts.amqp import queues
from scripts.amqp.management import locate_management
from scripts.amqp.policies import losses
from scripts.errors import ClusterError
from scripts.event_loop import EventLoop, in_thread
from scripts.worker.alive import AliveFile
from scripts.worker.deliveries import Link, Run
from scripts.worker.options import Options
from scripts.worker.reconnect import Locate, Reconnecting

# The figures of a new queue come within ten seconds, on a busy machine later.
_FIGURES_WITHIN_S = 30.0


def _nothing() -> None:
    pass


@dataclass(eq=False)
class QueueWarnings:
    """Warnings of what is wrong with the queues, each said once."""

    loop: EventLoop
    options: Options
    _looked: set[str] = field(default_factory=set)
    _said: set[str] = field(default_factory=set)

    def say(self, *warnings: str) -> None:
        """Say those that are new."""
        for warning in warnings:
            if warning not in self._said:
                self._said.add(warning)
                say(warning)

    def look(self, parameters: Any, names: Sequence[str]) -> None:
        """Look, in a thread, whether policies take messages out of those of the queues that are new.

        `parameters` are of the connection to the broker; without a management API nothing is said.
        """
        new = [name for name in names if name not in self._looked]
        self._looked.update(new)
        if new:
            queue, attempts = self.options.queue, self.options.policy.attempts

            def ask() -> list[str]:
                management = locate_management(parameters, self.options.management)
                return losses(management, queue, new, attempts, _FIGURES_WITHIN_S)

            in_thread(self.loop, ask, lambda found: self.say(*found), lambda _reason: None)


@dataclass(eq=False)
class Consumer:
    """Calls `delivered` for each message and `lost` when those that were delivered can no longer be settled.

    `refused` is told why this queue can never be consumed; `failed_before`: how many messages stood in the failed
    queue before the first one was taken; `rests`: none is taken but by `take_one` (None: not known yet, none is taken).
    The next subscription holds `prefetch` messages at most.
    """

    loop: EventLoop
    locate: InitVar[Locate]
    options: Options
    warnings: QueueWarnings
    alive: AliveFile
    delivered: Callable[[Run], None]
    lost: Callable[[], None]
    refused: Callable[[str], None]
    started: bool = False
    failed_before: int | None = None
    rests: bool | None = None
    _link: Link | None = None
    # The prefetch of each subscription, by its consumer tag; mostly there is one.
    _subscriptions: dict[str, int] = field(default_factory=dict)
    _second_tag: str | None = None
    _takes_more: bool = True

    def __post_init__(self, locate: Locate) -> None:
        self.queue = self.options.queue
        self.prefetch = self.options.prefetch or self.options.jobs
        self._connection = Reconnecting(self.loop, locate, f"queue {self.queue!r}", self._opened, self._lost)

    def start(self) -> None:
        """Connect and subscribe."""
        self.started = True
        self.alive.not_consuming()
        self._connection.start()

    def cancel(self, stays_healthy: bool = False) -> None:
        """Take no more messages, for good; those that were delivered can still be settled."""
        self._takes_more = False
        if not stays_healthy:
            self.alive.not_consuming()
        self._connection.give_up_when_lost()
        self._unsubscribe_all()

    def rest(self) -> None:
        """Take no messages until `go_on`, but for `take_one`."""
        self.rests = True
        self._unsubscribe_all()

    def take_one(self) -> bool:
        """Ask for the next message, and no other before that is settled; `rest` when it is there. False: cannot ask.

        Not by basic.get: that is refused by a queue with a single active consumer.
        """
        return self._subscribe(1, self._consuming)

    def go_on(self) -> None:
        """Take messages, at first or again."""
        self.rests = False
        self._unsubscribe_all()
        self._subscribe(self.prefetch, self._consuming)

    @property
    def subscriptions(self) -> int:
        """The number of subscriptions, which is mostly one."""
        return len(self._subscriptions)

    @property
    def subscribed(self) -> int:
        """The number of messages that the subscriptions hold at most."""
        return sum(self._subscriptions.values())

    @property
    def is_full(self) -> bool:
        """True while the broker sends nothing before something is acknowledged."""
        return self._link is not None and self._link.in_hand >= self.subscribed

    def hold_acknowledgements(self, wanted: bool) -> None:
        """Acknowledge nothing for the moment, or what was held back."""
        if self._link is not None:
            self._link.is_paused = wanted
            if not wanted:
                self._link.flush()

    def subscribe_anew(self) -> None:
        """Take as many as `prefetch` says from now on, beside those that were delivered."""
        self.unsubscribe(_nothing)
        self.subscribe(self.prefetch)

    def subscribe(self, prefetch: int) -> None:
        """Take so many more at once."""
        self._subscribe(prefetch, lambda _frame: None)

    def unsubscribe(self, ended: Callable[[], None]) -> None:
        """Take no more; `ended` is called when nothing is on its way, unless the connection is lost before."""
        if self._link is not None:
            self._link.count_anew()
        tags, self._subscriptions = list(self._subscriptions), {}
        for tag in tags:
            # pika asks for one after the other, in this order.
            self._cancel(tag, ended if tag == tags[-1] else _nothing)
        if not tags:
            ended()

    def subscribe_again(self) -> bool:
        """Have a second subscription until `unsubscribe_again`; what comes by it is taken as well. False: not now.

        The broker counts it when all is written that it had to write to the queue before.
        """
        if not self._subscriptions or self._link is None or not self._link.open:
            return False
        self._second_tag = self._second_tag or self._consume(1, lambda _frame: None)
        return True

    def unsubscribe_again(self) -> None:
        """End the second subscription, if there is one."""
        tag, self._second_tag = self._second_tag, None
        if tag is not None:
            self._cancel(tag)

    def look(self, looked: Callable[[int, int], None]) -> bool:
        """Ask how many messages are ready in the queue and how many consumers it has; False: cannot ask.

        What the broker has sent before is here before the answer. None comes when the connection is lost. A quorum
        queue counts every channel that holds messages of it as a consumer.
        """
        if not (self.connection and self._link and self._link.open):
            return False
        answer = self.loop.guard(lambda frame: looked(frame.method.message_count, frame.method.consumer_count))
        self._link.channel.queue_declare(self.queue, passive=True, callback=answer)
        return True

    def get(self, queue: str, got: Callable[[Run | None], None]) -> None:
        """Take one message of another queue, if there is one; it is settled like those that were delivered."""
        link, guard = self._link, self.loop.guard
        assert link is not None
        # Nothing that is settled may be lost with a message that takes the worker down.
        link.flush()
        waiting = [got]

        def answer(run: Run | None) -> None:
            if waiting:
                waiting.pop()(run)

        link.channel.add_callback(guard(lambda _frame: answer(None)), [spec.Basic.GetEmpty])
        link.channel.basic_get(queue, guard(partial(_receive, link, answer)))

    @property
    def connection(self) -> Any:
        """The present connection (pika's) if it is open, and subscribed unless the worker rests; else None."""
        connection = self._connection.connection
        works = connection and connection.is_open and self._connection.works_since is not None
        return connection if works else None

    def close(self, closed: Callable[[], None]) -> None:
        """Send what was written and end the connection."""
        self.alive.not_consuming()
        if self._link is not None:
            self._link.flush()
        self._connection.close(closed)

    def _opened(self, connection: Any) -> None:
        """See that the queues are there; what need not be asked twice is asked once in a worker's life."""
        policy = self.options.policy
        results = self.options.results
        arguments = queues.queue_arguments(self.queue, connection.server_properties or {}, results)
        # The first retry queue shows whether the others can be made.
        first_retry = [queues.retry_queue(self.queue, policy.backoff_s)] if policy.attempts > 1 else []
        beside = [queues.failed_queue(self.queue), *first_retry, *([results] if results else [])]
        needed = {name: arguments[name] for name in (self.queue, *beside)}

        def declared(problem: ClusterError | None) -> None:
            if isinstance(problem, queues.IsStream):
                self.refused(str(problem))
            elif problem:
                self._connection.trouble(str(problem))
            else:
                self.warnings.look(connection.params, list(needed))
                self._see_to_failures(connection)

        queues.declare(connection, needed, self.loop.guard(declared), self.warnings.say)

    def _see_to_failures(self, connection: Any) -> None:
        """See that messages that fail could be kept, and how many are there; then take some."""
        beside = queues.failed_queue(self.queue)

        def tried(forbidden: ChannelClosedByBroker | None) -> None:
            if connection.is_open and forbidden:
                why = queues.refusal(forbidden, connection.params, beside)
                self._connection.trouble(f"messages that fail could not be kept: {why}")
            elif connection.is_open:
                queues.count(connection, [beside], self.loop.guard(counted))

        def counted(failed: queues.Counted | None) -> None:
            if failed is not None:
                self.failed_before = failed.ready
                self._connection.open_channel(beside, self._use)

        if self.failed_before is None:
            queues.try_publishing(self.loop, connection.params, self.loop.guard(tried))
        else:
            self._connection.open_channel(beside, self._use)

    def _use(self, channel: Any) -> None:
        def cancelled(_frame: Any) -> None:
            if link is self._link:
                self._connection.trouble(f"the broker ended the subscription to {self.queue!r}: was the queue deleted?")

        link = self._link = Link(self.loop, channel)
        channel.add_on_cancel_callback(self.loop.guard(cancelled))
        if self.rests:
            self._up()
        elif self.rests is False:
            self._subscribe(self.prefetch, self._consuming)

    def _subscribe(self, prefetch: int, consuming: Callable[[Any], None]) -> bool:
        link = self._link
        if link is None or not (self._takes_more and link.open):
            # It was told to stop while it came up, or has no connection at the moment.
            return False
        # With a third of the waiting messages left, the broker has time to send new ones before they run out.
        link.hold = max(1, (self.prefetch - self.options.jobs) * 2 // 3)
        self._subscriptions[self._consume(prefetch, consuming)] = prefetch
        return True

    def _consume(self, prefetch: int, consuming: Callable[[Any], None]) -> str:
        link, guard = self._link, self.loop.guard
        assert link is not None
        link.channel.basic_qos(prefetch_count=prefetch)
        deliver = guard(partial(_receive, link, self.delivered))
        return str(link.channel.basic_consume(self.queue, deliver, callback=guard(consuming)))

    def _unsubscribe_all(self) -> None:
        self.unsubscribe_again()
        self.unsubscribe(_nothing)

    def _cancel(self, tag: str, ended: Callable[[], None] = _nothing) -> None:
        if self._link and self._link.open:
            channel, guard = self._link.channel, self.loop.guard
            answer, this = spec.Basic.CancelOk, {"consumer_tag": tag}
            # The callback that basic_cancel takes is called for the next answer, whichever subscription that is of.
            channel.callbacks.add(channel.channel_number, answer, guard(lambda _frame: ended()), arguments=this)
            channel.basic_cancel(tag, callback=guard(lambda _frame: None))
            # pika would reject what arrives before the broker's answer, and that counts as failed. We hand it back.
            channel._cancelled.discard(tag)

    def _consuming(self, _frame: Any) -> None:
        if not self._takes_more:
            return
        self._up()
        if not self.rests:
            say(f"consuming from {self.queue!r} at {self._connection.where}")

    def _up(self) -> None:
        self._connection.works()
        self.alive.consuming()

    def _lost(self) -> None:
        self.alive.not_consuming()
        link, self._link, self._subscriptions, self._second_tag = self._link, None, {}, None
        if link is not None:
            if link.used:
                self._connection.useful()
            link.lose()
            self.lost()


def _receive(link: Link, take: Callable[[Run], None], _channel: Any, method: Any, properties: Any, body: bytes) -> None:
    link.came(method.delivery_tag)
    take(Run(link, method.delivery_tag, method.redelivered, method.routing_key, properties, body))
