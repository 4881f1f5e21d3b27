"""What must be there before a message is taken: its queues, and the rights that a failure needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pika.exceptions import ChannelClosedByBroker

from scripts.action.output import say
from scripts.amqp.queues import Declaration, count_ready, declare, failed_queue, retry_declaration, work_declarations
from scripts.amqp.rights import refusal, try_publishing
from scripts.errors import ClusterError
from scripts.event_loop import EventLoop
from scripts.worker.policy_watch import PolicyWatch
from scripts.worker.verdicts import Policy


class Preparation:
    """Prepares each new connection; what need not be asked twice is asked once in a worker's life."""

    def __init__(self, loop: EventLoop, queue: str, policy: Policy, watch: PolicyWatch) -> None:
        self._loop = loop
        self._queue = queue
        self._policy = policy
        self._watch = watch
        self._warned: set[str] = set()
        self._may_publish = False
        # How many messages stood in the failed queue before the first one was taken.
        self.failed_before: int | None = None

    def prepare(self, connection: Any, done: Callable[[ClusterError | None], None]) -> None:
        """Call `done` with None, or with why messages must not be taken; not at all when the connection is lost."""

        def declared(problem: ClusterError | None) -> None:
            if problem:
                done(problem)
                return
            self._watch.look(connection.params, [declaration.name for declaration in needed])
            if self._may_publish:
                self._count(connection, done)
            else:
                try_publishing(self._loop, connection.params, self._loop.guard(tried))

        def tried(forbidden: ChannelClosedByBroker | None) -> None:
            if not connection.is_open:
                return
            if forbidden:
                why = refusal(forbidden, connection.params, self._queue)
                done(ClusterError(f"messages that fail could not be kept: {why}"))
                return
            self._may_publish = True
            self._count(connection, done)

        needed = self._needed(connection.server_properties or {})
        declare(connection, needed, self._loop.guard(declared), self._warn_once)

    def _needed(self, server: dict[str, Any]) -> list[Declaration]:
        """The queues; the first retry queue shows whether the others can be made."""
        retry = [retry_declaration(self._queue, self._policy.backoff_s, server)] if self._policy.attempts > 1 else []
        return [*work_declarations(self._queue, server), *retry]

    def _count(self, connection: Any, done: Callable[[ClusterError | None], None]) -> None:
        def counted(failed: int | None) -> None:
            if failed is not None:
                self.failed_before = failed
                done(None)

        if self.failed_before is None:
            count_ready(connection, [failed_queue(self._queue)], self._loop.guard(counted))
        else:
            done(None)

    def _warn_once(self, warning: str) -> None:
        if warning not in self._warned:
            self._warned.add(warning)
            say(warning)
