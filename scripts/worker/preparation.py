"""The preparation of a connection before a message is taken: queues, the rights that a failure needs, policies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pika.exceptions import ChannelClosedByBroker

from scripts.action.output import say
from scripts.amqp.management import management_of
from scripts.amqp.policies import losses
from scripts.amqp.queues import count_ready, declare, failed_queue, queue_arguments, retry_queue
from scripts.amqp.rights import refusal, try_publishing
from scripts.errors import ClusterError
from scripts.event_loop import EventLoop, in_thread
from scripts.worker.options import Options

# The figures of a new queue come within ten seconds, on a busy machine later.
_FIGURES_WITHIN_S = 30.0


@dataclass(eq=False)
class PolicyWatch:
    """Looks at the policies of each queue once, and warns of losses; without a management API nothing is said."""

    loop: EventLoop
    options: Options
    _looked: set[str] = field(default_factory=set)

    def look(self, parameters: Any, names: Sequence[str]) -> None:
        """Look at those of the queues that are new, in a thread; `parameters` are of the connection to the broker."""
        new = [name for name in names if name not in self._looked]
        self._looked.update(new)
        if new:
            management = management_of(parameters, self.options.management)
            queue, attempts = self.options.queue, self.options.policy.attempts
            in_thread(
                self.loop,
                lambda: losses(management, queue, new, attempts, _FIGURES_WITHIN_S),
                _say_all,
                lambda _reason: None,
            )


def _say_all(lines: Sequence[str]) -> None:
    for line in lines:
        say(line)


@dataclass(eq=False)
class Preparation:
    """Prepares each new connection; what need not be asked twice is asked once in a worker's life.

    `failed_before`: how many messages stood in the failed queue before the first one was taken.
    """

    loop: EventLoop
    options: Options
    watch: PolicyWatch
    failed_before: int | None = None
    _may_publish: bool = False
    _warned: set[str] = field(default_factory=set)

    def prepare(self, connection: Any, done: Callable[[ClusterError | None], None]) -> None:
        """Call `done` with None, or with why messages must not be taken; not at all when the connection is lost."""

        def declared(problem: ClusterError | None) -> None:
            if problem:
                done(problem)
                return
            self.watch.look(connection.params, list(needed))
            if self._may_publish:
                self._count(connection, done)
            else:
                try_publishing(self.loop, connection.params, self.loop.guard(tried))

        def tried(forbidden: ChannelClosedByBroker | None) -> None:
            if not connection.is_open:
                return
            if forbidden:
                why = refusal(forbidden, connection.params, self.options.queue)
                done(ClusterError(f"messages that fail could not be kept: {why}"))
                return
            self._may_publish = True
            self._count(connection, done)

        needed = self._needed(connection.server_properties or {})
        declare(connection, needed, self.loop.guard(declared), self._warn_once)

    def _needed(self, server: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Return the queues with their arguments; the first retry queue shows whether the others can be made."""
        queue, policy = self.options.queue, self.options.policy
        arguments = queue_arguments(queue, server)
        first_retry = [retry_queue(queue, policy.backoff_s)] if policy.attempts > 1 else []
        return {name: arguments[name] for name in (queue, failed_queue(queue), *first_retry)}

    def _count(self, connection: Any, done: Callable[[ClusterError | None], None]) -> None:
        def counted(failed: int | None) -> None:
            if failed is not None:
                self.failed_before = failed
                done(None)

        if self.failed_before is None:
            count_ready(connection, [failed_queue(self.options.queue)], self.loop.guard(counted))
        else:
            done(None)

    def _warn_once(self, warning: str) -> None:
        if warning not in self._warned:
            self._warned.add(warning)
            say(warning)
