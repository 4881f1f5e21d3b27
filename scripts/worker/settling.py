"""What becomes of a message after its run: acknowledged, or copied elsewhere and then acknowledged."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from scripts.action.jobs import Outcome
from scripts.action.output import say
from scripts.amqp.queues import (
    Declaration,
    alone_declaration,
    alone_queue,
    failed_declaration,
    failed_queue,
    retry_declaration,
    retry_queue,
    true_pause_s,
    version,
    work_declaration,
)
from scripts.worker import headers
from scripts.worker.copies import Copies, Copy
from scripts.worker.runs import Run
from scripts.worker.verdicts import Ack, Decision, Fail, Policy, Retry, decide

# The first RabbitMQ whose basic.nack does not count as a lost delivery.
_NACK_IS_FREE = (4, 3)

# Said once, for people and for who watches whether a new action works at all.
FIRST_SUCCESS = "the first message succeeded"


class Settler:
    """Settles runs of one queue; calls `settled` when the broker has been told all it needs to know of one."""

    def __init__(
        self,
        queue: str,
        policy: Policy,
        copies: Copies,
        server: Callable[[], dict[str, Any]],
        settled: Callable[[Run], None],
    ) -> None:
        """`server` gives the broker's properties, by which its version is known."""
        self._queue = queue
        self._policy = policy
        self._copies = copies
        self._server = server
        self._settled = settled
        self._host = socket.gethostname()
        self._worker = f"{self._host}-{os.getpid()}"
        self.failed = 0
        self._succeeded = False

    def settle(self, run: Run, outcome: Outcome) -> None:
        """Do what the outcome asks for."""
        decision = decide(outcome, run.attempt, self._policy)
        if isinstance(decision, Ack):
            if not self._succeeded:
                self._succeeded = True
                say(FIRST_SUCCESS)
            self.ack(run)
            return
        say(f"{run.id}: {_words(run, outcome, decision, self._policy.attempts)}")
        if isinstance(decision, Retry):
            self._retry(run, decision.pause_s)
        elif isinstance(decision, Fail):
            self.fail(run, outcome, decision.reason)
        else:
            self.hand_back(run)

    def ack(self, run: Run) -> None:
        """Done with."""
        run.delivery.link.ack(run.delivery.tag)
        self._settled(run)

    def fail(self, run: Run, outcome: Outcome, reason: str) -> None:
        """To the failed queue, with all that is known."""
        self.failed += 1
        more = headers.failure_headers(outcome, reason, run.attempt, self._host, self._worker)
        more |= headers.first_published(run.delivery.properties, time.time())
        self._copy(run, failed_queue(self._queue), more, lambda server: failed_declaration(self._queue, server))

    def fail_unrun(self, run: Run, reason: str) -> None:
        """To the failed queue without another run."""
        say(f"{run.id}: {reason}; to the failed queue")
        self.fail(run, Outcome("failed"), reason)

    def isolate(self, run: Run) -> None:
        """To the queue of suspects; its coming run is counted now, since a lost worker cannot count it."""
        say(
            f"{run.id}: lost with its worker or connection before; attempt {run.attempt} is made with nothing beside it"
        )
        more = {headers.ATTEMPT: run.attempt, headers.ALONE: True}
        self._copy(run, alone_queue(self._queue), more, lambda server: alone_declaration(self._queue, server))

    def hand_back(self, run: Run) -> None:
        """Back to the queue, this run not being counted.

        Where the broker would count a returned message as lost, a copy goes back: that begins with a count of zero.
        """
        if version(self._server()) >= _NACK_IS_FREE and not run.alone:
            run.delivery.link.hand_back(run.delivery.tag)
            self._settled(run)
        else:
            self._put_back(run, run.attempt - 1)

    def renew(self, run: Run) -> None:
        """Back to the failed queue that is worked on, as if it had never been tried: the broker's count begins at zero.

        That count may be of people who looked at the failed queue, so it says nothing of workers that were lost.
        """
        self._put_back(run, 0)

    def _put_back(self, run: Run, attempts: int) -> None:
        more = {headers.ATTEMPT: attempts or None, headers.ALONE: None}
        self._copy(run, self._queue, more, lambda server: work_declaration(self._queue, server))

    def _retry(self, run: Run, pause_s: float) -> None:
        more = {headers.ATTEMPT: run.attempt, headers.ALONE: None}
        more |= headers.first_published(run.delivery.properties, time.time())
        queue = retry_queue(self._queue, pause_s)
        self._copy(run, queue, more, lambda server: retry_declaration(self._queue, pause_s, server))

    def _copy(
        self, run: Run, queue: str, more: dict[str, Any], declaration: Callable[[dict[str, Any]], Declaration]
    ) -> None:
        """Publish a copy; the original is acknowledged when the broker has the copy safe."""
        delivery = run.delivery
        expires = queue == self._queue
        properties = headers.copied(delivery.properties, delivery.routing_key, self._queue, more, expires)
        properties.message_id = properties.message_id or run.id
        run.copy = "sent"
        self._copies.send(
            Copy(
                queue,
                properties,
                delivery.body,
                confirmed=partial(self._copied, run),
                wanted=lambda: run.delivery.link.open,
                dropped=partial(_not_copied, run),
                declaration=declaration,
            )
        )

    def _copied(self, run: Run) -> None:
        run.copy = "safe"
        self.ack(run)


def _not_copied(run: Run) -> None:
    run.copy = "none"


def _words(run: Run, outcome: Outcome, decision: Decision, attempts: int) -> str:
    what = f"{outcome.reason} after {outcome.seconds:.1f} s"
    if isinstance(decision, Retry):
        return f"{what}, attempt {run.attempt} of {attempts}; again in {true_pause_s(decision.pause_s)} s"
    if isinstance(decision, Fail):
        return f"{what}, attempt {run.attempt} of {attempts}; to the failed queue"
    return f"{what}; back to the queue"
