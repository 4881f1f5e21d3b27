"""The settling of a message after its run: acknowledged, or copied elsewhere and then acknowledged.

Copies (to wait, to fail, to go back) are published on a connection of their own: a memory or disk alarm blocks
publishing connections, and acknowledgements would be stuck with the copies.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from typing import Any

from scripts.action.jobs import Outcome
from scripts.action.output import say
from scripts.amqp import queues
from scripts.errors import ClusterError
from scripts.event_loop import EventLoop
from scripts.worker import headers
from scripts.worker.consumer import QueueWarnings
from scripts.worker.deliveries import Run
from scripts.worker.options import Options
from scripts.worker.reconnect import Locate, Reconnecting
from scripts.worker.verdicts import FIRST_SUCCESS, attempt_line, decide

# The first RabbitMQ whose basic.nack does not count as a lost delivery.
_NACK_IS_FREE = (4, 3)

_AGAIN_AFTER_S = 1.0


@dataclass(eq=False)
class Settler:
    """Settles runs of one queue; calls `settled` when the broker has been told all it needs to know of one.

    `failed` counts what went to the failed queue.
    """

    loop: EventLoop
    locate: InitVar[Locate]
    options: Options
    warnings: InitVar[QueueWarnings]
    settled: Callable[[Run], None]
    failed: int = 0
    _succeeded: bool = False

    def __post_init__(self, locate: Locate, warnings: QueueWarnings) -> None:
        self.copies = Copies(self.loop, locate, self.options.queue, warnings, self.ack)

    def settle(self, run: Run, outcome: Outcome) -> None:
        """Do what the outcome asks for."""
        decision = decide(outcome, run.attempt, self.options.policy)
        if decision.way != "ack":
            say(attempt_line(run.id, outcome, run.attempt, self.options.policy, decision))
        elif not self._succeeded:
            self._succeeded = True
            say(FIRST_SUCCESS)
        match decision.way:
            case "ack":
                self.ack(run)
            case "retry":
                more = {headers.ATTEMPT: run.attempt, headers.ALONE: None}
                more |= headers.first_published(run.properties)
                self._copy(run, queues.retry_queue(self.options.queue, decision.pause_s), more)
            case "fail":
                self._fail(run, outcome)
            case "hand back":
                self.hand_back(run)

    def ack(self, run: Run) -> None:
        """Tell the broker that the message is done with."""
        run.link.ack(run.tag)
        self.settled(run)

    def fail_unrun(self, run: Run, reason: str) -> None:
        """Send the message to the failed queue without another run."""
        say(f"{run.id}: {reason}; to the failed queue")
        self._fail(run, Outcome("failed", reason))

    def isolate(self, run: Run) -> None:
        """Send a suspect to its queue; its coming run is counted now, since a lost worker cannot count it."""
        how = f"attempt {run.attempt} is made with nothing beside it"
        say(f"{run.id}: lost with its worker or connection before; {how}")
        self._copy(run, queues.alone_queue(self.options.queue), {headers.ATTEMPT: run.attempt, headers.ALONE: True})

    def hand_back(self, run: Run) -> None:
        """Send the message back to the queue, this run not being counted.

        Where the broker would count a returned message as lost, a copy goes back: that begins with a count of zero.
        """
        server = run.link.channel.connection.server_properties or {}
        if queues.version(server) >= _NACK_IS_FREE and not run.alone:
            run.link.hand_back(run.tag)
            self.settled(run)
        else:
            self._put_back(run, run.attempt - 1)

    def renew(self, run: Run) -> None:
        """Send the message back to the failed queue that is worked on, as if it had never been tried.

        The broker's count of a copy begins at zero. So far it may be of people who looked at the failed queue, and says
        nothing of workers that were lost.
        """
        self._put_back(run, 0)

    def _put_back(self, run: Run, attempts: int) -> None:
        self._copy(run, self.options.queue, {headers.ATTEMPT: attempts or None, headers.ALONE: None})

    def _fail(self, run: Run, outcome: Outcome) -> None:
        self.failed += 1
        more = headers.failure_headers(outcome, run.attempt) | headers.first_published(run.properties)
        self._copy(run, queues.failed_queue(self.options.queue), more)

    def _copy(self, run: Run, queue: str, more: dict[str, Any]) -> None:
        """Publish a copy to this queue; the original is acknowledged when the broker has the copy safe."""
        ours = self.options.queue
        properties = headers.copy_properties(run.properties, run.routing_key, ours, more, queue == ours)
        properties.message_id = properties.message_id or run.id
        self.copies.send(Copy(run, properties, queue))


@dataclass(slots=True, eq=False)
class Copy:
    """A copy of a run's message, for one of the queues that `queue_arguments` knows."""

    run: Run
    properties: Any
    queue: str
    returned: bool = False
    returns: int = 0


@dataclass(eq=False)
class Copies:
    """Sends copies in order, each confirmed by the broker and never unroutable; the connection is made at the first.

    `confirmed` is called when the broker has the copy of a run's message safe.
    """

    loop: EventLoop
    locate: InitVar[Locate]
    queue: str
    warnings: QueueWarnings
    confirmed: Callable[[Run], None]
    _started: bool = False
    _channel: Any = None
    _declaring: bool = False
    _tag: int = 0
    _waiting: deque[Copy] = field(default_factory=deque)
    _sent: dict[int, Copy] = field(default_factory=dict)

    def __post_init__(self, locate: Locate) -> None:
        failed_queue = queues.failed_queue(self.queue)
        # The worker has declared these two before it takes a message.
        self._known = frozenset({self.queue, failed_queue})
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
            self.warnings.look(self._connection.connection.params, [copy.queue])
            self._send_waiting()

        connection = self._connection.connection
        arguments = queues.queue_arguments(self.queue, connection.server_properties or {})[copy.queue]
        queues.declare(connection, {copy.queue: arguments}, self.loop.guard(declared), self.warnings.say)

    def _publish(self, copy: Copy) -> None:
        copy.returned = False
        self._tag += 1
        self._sent[self._tag] = copy
        properties = headers.fit(copy.properties, self._connection.connection.params.frame_max)
        self._channel.basic_publish("", copy.queue, copy.run.body, properties, mandatory=True)

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
            self.loop.call_later(_AGAIN_AFTER_S, lambda: self.send(copy))
        elif copy.returned:
            copy.returns += 1
            self.loop.call_later(0 if copy.returns == 1 else _AGAIN_AFTER_S, lambda: self.send(copy))
        else:
            self._connection.useful()
            copy.run.copy = "safe"
            self.confirmed(copy.run)
