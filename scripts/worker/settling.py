"""The settling of a message after its run: answered with its result, or copied elsewhere; and then acknowledged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import InitVar, dataclass, replace
from functools import partial
from typing import Any

from scripts.action.jobs import Outcome
from scripts.action.output import say
from scripts.amqp import queues
from scripts.event_loop import EventLoop
from scripts.worker import headers
from scripts.worker.consumer import QueueWarnings
from scripts.worker.copies import Copies, Copy
from scripts.worker.deliveries import Run
from scripts.worker.options import Options
from scripts.worker.recipients import Recipients
from scripts.worker.reconnect import Locate
from scripts.worker.results import is_trial, map_run, queue_for, result_properties
from scripts.worker.verdicts import (
    FIRST_SUCCESS,
    SAID_IN_RESULT,
    TO_THE_FAILED_QUEUE,
    attempt_line,
    decide,
    next_step,
)

# The first RabbitMQ whose basic.nack does not count as a lost delivery.
_NACK_IS_FREE = (4, 3)


@dataclass(eq=False)
class Settler:
    """Settles runs of one queue; calls `settled` when the broker has been told all it needs to know of one.

    `done` counts what succeeded, `failed` what failed for good, `retried` the failed attempts that are made again;
    `recipients` know for which results nobody waits any more.
    """

    loop: EventLoop
    locate: InitVar[Locate]
    options: Options
    warnings: InitVar[QueueWarnings]
    settled: Callable[[Run], None]
    done: int = 0
    failed: int = 0
    retried: int = 0

    def __post_init__(self, locate: Locate, warnings: QueueWarnings) -> None:
        options = self.options
        self.copies = Copies(self.loop, locate, options.queue, options.results, warnings, self.ack)
        self.recipients = Recipients(self.loop)

    def result_limit(self, run: Run) -> int | None:
        """Return how many bytes the result of a message may have; None where nobody wants it."""
        return self.options.result_limit if queue_for(run.properties, self.options.results) else None

    def settle(self, run: Run, outcome: Outcome) -> None:
        """Do what the outcome asks for."""
        decision = decide(outcome, run.attempt, self.options.policy)
        queue = queue_for(run.properties, self.options.results)
        if decision.way != "ack":
            say(attempt_line(run.id, outcome, run.attempt, self.options.policy, decision, bool(queue)))
        elif not self.done:
            say(FIRST_SUCCESS)
        self.done += decision.way == "ack"
        self.retried += decision.way == "retry"
        match decision.way:
            case "ack" if queue:
                self._answer(run, outcome, queue, failed=False)
            case "ack":
                self.ack(run)
            case "retry":
                self._try_again(run, outcome, decision.pause_s)
            case "fail":
                self._fail(run, outcome)
            case "hand back":
                self.hand_back(run)

    def ack(self, run: Run) -> None:
        """Tell the broker that the message is done with."""
        run.link.ack(run.tag)
        self.settled(run)

    def fail_unrun(self, run: Run, reason: str) -> None:
        """Let the message fail for good without another run."""
        has_answer = queue_for(run.properties, self.options.results)
        say(f"{run.id}: {reason}; {SAID_IN_RESULT if has_answer else TO_THE_FAILED_QUEUE}")
        self._fail(run, Outcome("failed", reason))

    def drop(self, run: Run) -> None:
        """Be done with an item of a run that is over, for whose result there is no queue."""
        self.recipients.dropped(run)
        self.ack(run)

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

    def _try_again(self, run: Run, outcome: Outcome, pause_s: float) -> None:
        """Let the message come back after a pause; a trial is over."""
        if is_trial(run.properties):
            self._fail(run, outcome)
            return
        more = {headers.ATTEMPT: run.attempt, headers.ALONE: None} | headers.first_published(run.properties)
        self._copy(run, queues.retry_queue(self.options.queue, pause_s), more)

    def _fail(self, run: Run, outcome: Outcome) -> None:
        """Tell who waits for the result, or else keep the message in the failed queue."""
        self.failed += 1
        if queue := queue_for(run.properties, self.options.results):
            self._answer(run, outcome, queue, failed=True)
        else:
            self._keep_failed(run, outcome)

    def _answer(self, run: Run, outcome: Outcome, queue: str, failed: bool) -> None:
        """Publish the result of a message; that is acknowledged when the broker has the result safe."""
        facts = (run, outcome, queue, failed)
        gone = None if queue == self.options.results else partial(self._unanswered, *facts)
        is_asked, policy = is_trial(run.properties), self.options.policy
        verdict = next_step(decide(outcome, run.attempt, policy)) if is_asked else ""
        properties = result_properties(run, outcome, failed, verdict)
        self.copies.send(Copy(run, properties, queue, outcome.result, gone, partial(self._too_large, *facts)))

    def _unanswered(self, run: Run, outcome: Outcome, queue: str, failed: bool) -> None:
        """Do what is left to do where nobody takes the result."""
        if map_run(run.properties):
            self.drop(run)
            return
        then = TO_THE_FAILED_QUEUE if failed else "it is done all the same"
        say(f"{run.id}: no queue {queue!r} for its result; {then}")
        if failed:
            self._keep_failed(run, outcome)
        else:
            self.ack(run)

    def _too_large(self, run: Run, outcome: Outcome, queue: str, failed: bool, reason: str) -> None:
        """Answer without what the broker does not take; where that is all there was, the message has failed."""
        if failed:
            self._answer(run, replace(outcome, result=b""), queue, failed)
        else:
            say(f"{run.id}: {reason}; {SAID_IN_RESULT}")
            self._fail(run, replace(outcome, verdict="rejected", reason=reason, result=b""))

    def _keep_failed(self, run: Run, outcome: Outcome) -> None:
        more = headers.failure_headers(outcome, run.attempt) | headers.first_published(run.properties)
        self._copy(run, queues.failed_queue(self.options.queue), more)

    def _copy(self, run: Run, queue: str, more: dict[str, Any]) -> None:
        """Publish a copy to this queue; the original is acknowledged when the broker has the copy safe."""
        ours = self.options.queue
        properties = headers.copy_properties(run.properties, run.routing_key, ours, more, queue == ours)
        properties.message_id = properties.message_id or run.id
        self.copies.send(Copy(run, properties, queue))
