"""The readings of a queue: over AMQP what is ready, of its workers what they do, and what the management API knows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from difflib import get_close_matches
from typing import Any, Self, TypeVar

from pika.exceptions import AMQPError, ChannelClosedByBroker

from cluster.queue import workers
from cluster.queue.waiting.certainty import Counts, Figures, Reading
from scripts.amqp import queues
from scripts.amqp.broker import broker_errors, explain, open_blocking, redacted
from scripts.amqp.management import Management
from scripts.amqp.workers import Report
from scripts.errors import ClusterError, ServiceAway

# How long workers may take to answer; where no consumer is known, those that rest may.
_ANSWER_WITHIN_S = 1.0
_RESTING_ANSWER_WITHIN_S = 0.25

# RabbitMQ counts a queue as empty that has not told its numbers within 250 ms.
_SLOW_COUNT_S = 0.2

# The API is asked so seldom for what is not needed for the decision, and where it did not answer.
_ASK_API_EVERY_S = 2.0
_API_AWAY_FOR_S = 5.0


_T = TypeVar("_T")


class Lookout:
    """Takes readings of a queue, on connections that it has until it is closed (a `with` block).

    Counts have a connection of their own, since an alarm of the broker holds up the questions to workers.

    Raises, as all it does:
        ServiceAway: the broker is away.
        ClusterError: there is no such queue, or the broker refuses to say.
    """

    def __init__(self, url: str, queue: str, management: Callable[[], Management], flags: str = "") -> None:
        self.queue, self.failed, self.api_problem = queue, 0, ""
        # Somebody looks at the failed queue, and holds its messages meanwhile (`inv failed.list`).
        self.is_failed_held = False
        self._url, self._management, self._flags = url, management, flags
        self._side_queues = queues.side_queues(queue)
        self._beside = [queues.failed_queue(queue), *self._side_queues]
        self._there: set[str] = set()
        self._answers = 0
        self._is_slow = False
        self._fails_seen = -1
        self._api_asked_s = float("-inf")
        self._api_away_until_s = float("-inf")
        self._figures: Figures | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._counting = stack.enter_context(open_blocking(self._url))
            self._asking = stack.enter_context(workers.opened(self._url))
            self._channel = self._counting.channel()
            self._is_quorum = self._find_type()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(AMQPError, OSError, ClusterError):  # what is lost already needs no goodbye
            self._stack.close()

    def pause(self, pause_s: float) -> None:
        """Wait, and keep the connections alive."""
        with broker_errors(self._url):
            self._counting.sleep(pause_s)
            if self._asking.is_open:
                self._asking.process_data_events(0)

    def look(self) -> Reading:
        """Take a reading; `failed` is then how many messages are in the failed queue."""
        at_s, self._is_slow = time.monotonic(), False
        with broker_errors(self._url):
            before = self._count()
            reports = self._ask(before)
            fails = sum(one.failed + one.retried for one in reports)
            if fails != self._fails_seen or not (before.messages or any(one.in_hand for one in reports)):
                self._look_for_more()
                self._fails_seen = fails
            after = self._count()
        reading = Reading(
            at_s, time.monotonic(), before, reports, after, self._is_slow, is_quorum=self._is_quorum
        )  # fmt: skip
        return self._with_figures(reading)

    def is_paused(self) -> bool:
        """Tell whether the queue is marked as paused."""
        with broker_errors(self._url):
            return self._declared(queues.paused_queue(self.queue)) is not None

    def _count(self) -> Counts:
        work = self._declared(self.queue)
        if work is None:
            raise ClusterError(self._missing())
        beside = {name: self._declared(name) for name in self._beside if name in self._there}
        ready = {name: found.message_count if found else 0 for name, found in beside.items()}
        failed = beside.get(queues.failed_queue(self.queue))
        self.is_failed_held = bool(failed and failed.consumer_count)
        self.failed = ready.pop(queues.failed_queue(self.queue), 0)
        alone = ready.pop(queues.alone_queue(self.queue), 0)
        consumers = sum(beside[name].consumer_count for name in self._side_queues if beside.get(name))
        return Counts(work.message_count, alone, sum(ready.values()), work.consumer_count + consumers)

    def _declared(self, name: str) -> Any:
        """Return the broker's answer to a passive declare; None where there is no such queue."""
        asked_s = time.monotonic()
        try:
            found = self._channel.queue_declare(name, passive=True).method
        except ChannelClosedByBroker as refused:
            self._channel = self._counting.channel()
            if refused.reply_code != queues.NOT_THERE:
                raise
            if "no queue" not in refused.reply_text:  # its node is away
                raise ServiceAway(f"queue {name!r} at {redacted(self._url)}: {explain(refused)}") from refused
            found = None
        self._is_slow |= time.monotonic() - asked_s > _SLOW_COUNT_S
        return found

    def _look_for_more(self) -> None:
        """Look which of the queues beside are there, by the API where it answers: a refusal is in the broker's log."""
        missing = [name for name in self._beside if name not in self._there]
        try:
            self._there.update(self._api(lambda api: [name for name in missing if api.queue(name)]))
        except ClusterError:
            self._there.update(name for name in missing if self._declared(name) is not None)

    def _ask(self, counts: Counts) -> list[Report]:
        """Ask the workers, until all who consume have answered; in an alarm of the broker none can be asked."""
        within_s = _ANSWER_WITHIN_S if counts.consumers else _RESTING_ANSWER_WITHIN_S
        wanted = counts.consumers or float("inf")

        def is_enough(found: Sequence[Report]) -> bool:
            return sum(one.subscriptions for one in found) >= wanted

        try:
            if not self._asking.is_open:
                self._asking = self._stack.enter_context(workers.opened(self._url))
            with broker_errors(self._url):
                return workers.ask_on(self._asking, [self.queue], is_enough, within_s)
        except ClusterError:
            return []

    def _with_figures(self, reading: Reading) -> Reading:
        """Add the API's figures where the decision needs them, and now and then where workers do not answer."""
        is_needed = reading.is_clear and (not reading.all_answer or not reading.after.consumers)
        is_due = not reading.all_answer and time.monotonic() - self._api_asked_s > _ASK_API_EVERY_S
        if not (is_needed or is_due):
            return reading
        self._api_asked_s = time.monotonic()
        self.api_problem = ""
        try:
            self._figures = self._api(self._read_figures)
        except ClusterError as error:
            self._figures, self.api_problem = None, str(error)
        return Reading(**vars(reading) | {"figures": self._figures})

    def _read_figures(self, api: Management) -> Figures:
        messages = unacknowledged = 0
        for name in [self.queue, *(name for name in self._side_queues if name in self._there)]:
            found = api.queue(name)
            if found is None:  # of another broker than the one that was asked over AMQP, perhaps
                raise ClusterError(f"the management API at {api.url} does not know queue {name!r}")
            total = found.messages if found.all_at_once is None else found.all_at_once
            if total is None or found.unacknowledged is None:
                raise ClusterError(f"the management API at {api.url} has no numbers for queue {name!r} yet")
            messages, unacknowledged = messages + total, unacknowledged + found.unacknowledged
        return Figures(messages, unacknowledged)

    def _api(self, ask: Callable[[Management], _T]) -> _T:
        """Ask the management API; one that did not answer a moment ago is not asked again."""
        if time.monotonic() < self._api_away_until_s:
            raise ServiceAway(self.api_problem)
        try:
            return ask(self._management())
        except ServiceAway as away:
            self._api_away_until_s, self.api_problem = time.monotonic() + _API_AWAY_FOR_S, str(away)
            raise

    def _find_type(self) -> bool:
        """Tell whether it is a quorum queue, by the API or else by whether it could be declared as one."""
        with broker_errors(self._url):
            if self._declared(self.queue) is None:
                raise ClusterError(self._missing())
        with suppress(ClusterError):
            if found := self._api(lambda api: api.queue(self.queue)):
                return found.is_quorum
        arguments = queues.queue_arguments(self.queue, self._counting._impl.server_properties or {})
        try:
            self._counting.channel().queue_declare(self.queue, durable=True, arguments=arguments[self.queue])
        except ChannelClosedByBroker:
            return False
        return True

    def _missing(self) -> str:
        """Return what to say of a queue that is not there, with the nearest name that is."""
        known: set[str] = set()
        with suppress(ClusterError):
            found = self._api(lambda api: api.queues())
            known = {queues.owner_of(one.name) for one in found if not queues.is_inbox(one.name)}
        nearest = get_close_matches(self.queue, known - {self.queue}, n=1)
        mend = f"did you mean {nearest[0]!r}?" if nearest else f"./inv queue.list{self._flags} shows which there are"
        return f"there is no queue {self.queue!r} at {redacted(self._url)}: {mend}"
