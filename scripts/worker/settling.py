"""The settling of a message after its run: acknowledged, or copied elsewhere and then acknowledged."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scripts.action.jobs import Outcome
from scripts.action.output import say
from scripts.amqp import queues
from scripts.worker import headers
from scripts.worker.copies import Copy
from scripts.worker.deliveries import Run
from scripts.worker.options import Options
from scripts.worker.verdicts import Decision, decide

# Said once, for people and for who watches whether a new action works at all.
FIRST_SUCCESS = "the first message succeeded"


@dataclass(eq=False)
class Settler:
    """Settles runs of one queue; calls `settled` when the broker has been told all it needs to know of one.

    `failed` counts what went to the failed queue.
    """

    options: Options
    send: Callable[[Copy], None]
    settled: Callable[[Run], None]
    failed: int = 0
    _succeeded: bool = False

    def settle(self, run: Run, outcome: Outcome) -> None:
        """Do what the outcome asks for."""
        decision = decide(outcome, run.attempt, self.options.policy)
        if decision.way != "ack":
            say(f"{run.id}: {_describe(run, outcome, decision, self.options.policy.attempts)}")
        elif not self._succeeded:
            self._succeeded = True
            say(FIRST_SUCCESS)
        match decision.way:
            case "ack":
                self.ack(run)
            case "retry":
                self._retry(run, decision.pause_s)
            case "fail":
                self._fail(run, outcome)
            case "hand back":
                self.hand_back(run)

    def ack(self, run: Run) -> None:
        """Tell the broker that the message is done with."""
        run.delivery.link.ack(run.delivery.tag)
        self.settled(run)

    def fail_unrun(self, run: Run, reason: str) -> None:
        """Send the message to the failed queue without another run."""
        say(f"{run.id}: {reason}; to the failed queue")
        self._fail(run, Outcome("failed", reason))

    def isolate(self, run: Run) -> None:
        """Send a suspect to its queue; its coming run is counted now, since a lost worker cannot count it."""
        say(
            f"{run.id}: lost with its worker or connection before; attempt {run.attempt} is made with nothing beside it"
        )
        self._copy(run, queues.alone_queue(self.options.queue), {headers.ATTEMPT: run.attempt, headers.ALONE: True})

    def hand_back(self, run: Run) -> None:
        """Send the message back to the queue, this run not being counted.

        Where the broker would count a returned message as lost, a copy goes back: that begins with a count of zero.
        """
        if run.delivery.link.takes_back and not run.alone:
            run.delivery.link.hand_back(run.delivery.tag)
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
        more = headers.failure_headers(outcome, run.attempt, socket.gethostname(), os.getpid())
        more |= headers.first_published(run.delivery.properties, time.time())
        self._copy(run, queues.failed_queue(self.options.queue), more)

    def _retry(self, run: Run, pause_s: float) -> None:
        more = {headers.ATTEMPT: run.attempt, headers.ALONE: None}
        more |= headers.first_published(run.delivery.properties, time.time())
        self._copy(run, queues.retry_queue(self.options.queue, pause_s), more)

    def _copy(self, run: Run, queue: str, more: dict[str, Any]) -> None:
        """Publish a copy to this queue; the original is acknowledged when the broker has the copy safe."""
        delivery = run.delivery
        expires = queue == self.options.queue
        properties = headers.copy_properties(
            delivery.properties, delivery.routing_key, self.options.queue, more, expires
        )
        properties.message_id = properties.message_id or run.id
        self.send(Copy(run, properties, queue))


def _describe(run: Run, outcome: Outcome, decision: Decision, attempts: int) -> str:
    ended = f"{outcome.reason} after {outcome.seconds:.1f} s"
    if decision.way == "hand back":
        return f"{ended}; back to the queue"
    then = f"again in {queues.true_pause_s(decision.pause_s)} s" if decision.way == "retry" else "to the failed queue"
    return f"{ended}, attempt {run.attempt} of {attempts}; {then}"
