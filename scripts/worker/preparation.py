"""The preparation of a connection before a message is taken: queues, the rights that a failure needs, policies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
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
    _warned: set[str] = field(default_factory=set)

    def prepare(self, connection: Any, done: Callable[[ClusterError | None], None]) -> None:
        """Call `done` with None, or with why messages must not be taken; not at all when the connection is lost."""
        queue, policy, guard = self.options.queue, self.options.policy, self.loop.guard
        arguments = queue_arguments(queue, connection.server_properties or {})
        # The first retry queue shows whether the others can be made.
        first_retry = [retry_queue(queue, policy.backoff_s)] if policy.attempts > 1 else []
        needed = {name: arguments[name] for name in (queue, failed_queue(queue), *first_retry)}

        def declared(problem: ClusterError | None) -> None:
            if problem:
                done(problem)
                return
            self.watch.look(connection.params, list(needed))
            if self.failed_before is None:
                try_publishing(self.loop, connection.params, guard(tried))
            else:
                done(None)

        def tried(forbidden: ChannelClosedByBroker | None) -> None:
            if not connection.is_open:
                return
            if forbidden:
                why = refusal(forbidden, connection.params, queue)
                done(ClusterError(f"messages that fail could not be kept: {why}"))
            else:
                count_ready(connection, [failed_queue(queue)], guard(partial(self._counted, done)))

        declare(connection, needed, guard(declared), self._warn_once)

    def _counted(self, done: Callable[[None], None], failed: int | None) -> None:
        if failed is not None:
            self.failed_before = failed
            done(None)

    def _warn_once(self, warning: str) -> None:
        if warning not in self._warned:
            self._warned.add(warning)
            say(warning)
