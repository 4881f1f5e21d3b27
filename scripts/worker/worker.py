"""The worker: takes deliveries, has them run, and has each settled by its outcome. Nothing here ever blocks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from scripts.action.jobs import Job, Outcome, Runner
from scripts.action.output import say
from scripts.event_loop import EventLoop
from scripts.worker import headers, metadata, process_name
from scripts.worker.breaker import Breaker
from scripts.worker.consumer import Consumer
from scripts.worker.copies import Copies
from scripts.worker.deliveries import Delivery
from scripts.worker.isolation import Solo
from scripts.worker.notice import Notice
from scripts.worker.orphaned_runs import Unclaimed
from scripts.worker.probing import Probing
from scripts.worker.runs import Run
from scripts.worker.settling import Settler
from scripts.worker.verdicts import Fail, admit
from scripts.worker.work import Work

# How long a stop waits until the broker has confirmed what is handed back; a closed connection hands it back as well.
_SETTLE_TIMEOUT_S = 10.0

# How long a worker that is done stays for who has asked it to; so nobody's death leaves workers idle for ever.
HOLD_S = 300.0


class Worker:
    """Ties consumer, runner and settler together."""

    def __init__(self, loop: EventLoop, work: Work, runner: Runner, breaker: Breaker) -> None:
        self._loop = loop
        self._work = work
        self._runner = runner
        self._breaker = breaker
        self._waiting: deque[Run] = deque()
        self._unsettled: set[Run] = set()
        self._unclaimed = Unclaimed()
        self._probe: Run | None = None
        self._running = 0
        self._consuming = False
        self.stopping = False
        self._ended = False
        self._settle_timer: Any = None
        self._hold_timer: Any = None
        self._is_drained = False
        self.exit_code = 0
        self.taken = 0
        # Told of every run that is over.
        self.ran: list[Callable[[Run, Outcome], None]] = []

    def start(self, consumer: Consumer, copies: Copies, notice: Notice) -> None:
        """Begin to consume as soon as the runner is ready."""
        self._consumer = consumer
        self._copies = copies
        self._settler = Settler(self._work.queue, self._work.policy, copies, lambda: consumer.server, self._settled)
        self._solo = Solo(
            self._work.queue, consumer, self._settler, lambda: not self._running, self._take_alone, self._start_waiting
        )
        self._probing = Probing(
            self._loop, self._breaker, consumer, notice, self._free_for_a_probe, lambda: bool(self._unsettled)
        )
        self._runner.open(self._runner_changed, self._stop_for_good)
        self._runner_changed()

    @property
    def idle(self) -> bool:
        """Nothing was delivered that is not settled."""
        return not (self._running or self._unsettled)

    @property
    def failed(self) -> int:
        """How many messages this worker sent to the failed queue."""
        return self._settler.failed

    # Taking messages

    def delivered(self, delivery: Delivery) -> None:
        """A message has come; with an open breaker only a probe is run."""
        self.taken += 1
        is_probe = self._probing.took()
        run = self._unclaimed.claim(delivery) if delivery.redelivered and self._unclaimed else None
        if run is None or (run.copy == "none" and not run.begun):
            self._take(delivery, is_probe)
            return
        # It was lost with the connection and came back to us: what was done for it is not done again.
        self._unsettled.add(run)
        if run.copy == "safe":
            self._settler.ack(run)
        elif run.copy == "none" and run.outcome is not None:
            self._settler.settle(run, run.outcome)

    def lost(self) -> None:
        """What was delivered can no longer be settled: the broker gives it to somebody, perhaps to us again."""
        for run in self._unsettled.difference(self._waiting):
            self._unclaimed.add(run)
        self._waiting.clear()
        self._unsettled.clear()
        self._solo.lost()
        self._probing.lost()
        self._end_when_done()

    def _take(self, delivery: Delivery, is_probe: bool) -> None:
        queue = self._work.queue
        past = headers.handled(delivery.properties, delivery.redelivered, queue)
        admission = admit(past, self._work.policy)
        run = Run(delivery, headers.id_of(delivery.properties))
        self._unsettled.add(run)
        if headers.is_failed_queue(queue) and headers.failed_before(delivery.properties, queue) and not self.stopping:
            self._settler.renew(run)
            return
        if isinstance(admission, Fail):
            run.attempt = past.attempts
            self._settler.fail_unrun(run, admission.reason)
            return
        run.attempt, run.alone = admission.attempt, admission.alone
        if self.stopping or (self._breaker.is_open and not is_probe):
            self._settler.hand_back(run)
        else:
            self._waiting.append(run)
            self._start_waiting()

    def _take_alone(self, run: Run) -> None:
        self._unsettled.add(run)
        if self.stopping:
            self._settler.hand_back(run)
        else:
            self._run(run)

    # Running

    def _runner_changed(self) -> None:
        if not self._consuming and not self.stopping and self._runner.free() > 0:
            self._consuming = True
            self._consumer.start()
        self._start_waiting()

    def _start_waiting(self) -> None:
        while self._waiting and not self._solo.busy and self._runner.free() > 0:
            run = self._waiting.popleft()
            if run.alone:
                self._solo.take(run)
            else:
                self._run(run)

    def _run(self, run: Run) -> None:
        self._running += 1
        run.begun = True
        if run.attempt == 1 and not run.alone:
            run.trial = self._breaker.begin()
        if self._breaker.is_open:
            self._probe = run
        queue = self._work.queue
        job = Job(
            run.id, run.delivery.body, partial(metadata.variables, queue, run), partial(metadata.metadata, queue, run)
        )
        self._runner.start(job, partial(self._finished, run))

    def _finished(self, run: Run, outcome: Outcome) -> None:
        self._running -= 1
        run.outcome = outcome
        self._judge_host(run, outcome)
        self._solo.go_on()
        # The next action starts first: all that is to be done for this message is done while that one runs.
        self._start_waiting()
        for told in self.ran:
            told(run, outcome)
        if run in self._unsettled:
            self._settler.settle(run, outcome)
        else:
            self._solo.ended(run)
        self._end_when_done()

    def _judge_host(self, run: Run, outcome: Outcome) -> None:
        was_open = self._breaker.is_open
        self._breaker.end(run.trial, outcome)
        if outcome.verdict == "unstartable":
            self._stop_for_good(outcome.reason)
        elif self._breaker.is_open and not was_open:
            self._rest()
        elif was_open and not self._breaker.is_open:
            self._work_again()
        if run is self._probe:
            self._probe = None
            if self._breaker.is_open:
                self._probing.failed(is_retry=run.trial is None)

    def _rest(self) -> None:
        """The breaker opened: that is the end where nothing ever succeeded and nobody would start the worker anew."""
        if self.stopping:
            return
        if self._work.ends_unproven and not self._breaker.succeeded:
            self._stop_for_good(self._breaker.why)
            return
        say(f"{self._breaker.why}: taking one now and then, until one succeeds")
        self._probing.start()
        self._hand_back_waiting()

    def _work_again(self) -> None:
        if not self.stopping:
            say("a message succeeded: taking all again")
            self._probing.end()
            self._consumer.go_on()

    def _free_for_a_probe(self) -> bool:
        busy = self.stopping or self._probe or self._waiting or self._solo.busy
        return not busy and self._runner.free() > 0

    def _settled(self, run: Run) -> None:
        self._unsettled.discard(run)
        self._solo.settled(run)
        self._end_when_done()

    # Stopping

    def stop(self, reason: str, exit_code: int = 0) -> None:
        """Take no more, hand back what has not started, wait for what runs. A second stop ends what runs."""
        if self.stopping:
            say(f"{reason}: ending what runs now")
            self._runner.kill()
            return
        say(f"{reason}: stopping" + (f" when the {self._running} running actions are done" if self._running else ""))
        self.stopping = True
        self.exit_code = exit_code
        self._consumer.cancel(stays_healthy=self.held)
        self._hand_back_waiting()
        if self._work.drain_s is not None:
            self._loop.call_later(self._work.drain_s, self._drained)
        self._end_when_done()

    def hold(self, reason: str) -> None:
        """Stop, but stay healthy and do not end before `release`, or before nobody has asked for it for a while.

        A cluster would start another worker in the place of one that ends, and has little patience with one that it
        ends itself. So who is about to stop many asks them for this first, again and again until all are drained.
        """
        if self.held:
            self._loop.remove_timeout(self._hold_timer)
        elif self.stopping:
            return
        self._hold_timer = self._loop.call_later(HOLD_S, partial(self.release, "not asked to stay any longer"))
        if not self.stopping:
            process_name.change(process_name.DRAINING)
            self.stop(reason)

    def release(self, reason: str) -> None:
        """End as soon as what runs is done."""
        say(f"{reason}: staying no longer")
        self._loop.remove_timeout(self._hold_timer)
        self._hold_timer = None
        if self._is_drained:
            self._end()

    @property
    def held(self) -> bool:
        """Whether it was asked to stay when all is done."""
        return self._hold_timer is not None

    def _hand_back_waiting(self) -> None:
        suspect = self._solo.withdraw()
        for run in [*self._waiting, *([suspect] if suspect else [])]:
            self._settler.hand_back(run)
        self._waiting.clear()

    def refused(self, reason: str) -> None:
        """This queue is none for a worker."""
        self._stop_for_good(reason)

    def _stop_for_good(self, reason: str) -> None:
        """This host is no good; a stop that was asked for before goes on as it was."""
        if not self.stopping:
            self.stop(reason, exit_code=1)

    def _drained(self) -> None:
        if self._running:
            self.stop(f"{self._running} actions still run after {self._work.drain_s:g} s (--drain)")

    def _end_when_done(self) -> None:
        if not self.stopping or self._running or self._ended:
            return
        if not self._unsettled and not self._solo.busy:
            self._end()
        elif self._settle_timer is None:
            self._settle_timer = self._loop.call_later(_SETTLE_TIMEOUT_S, self._end_unsettled)

    def _end_unsettled(self) -> None:
        if not self._ended:
            say(f"the broker did not confirm within {_SETTLE_TIMEOUT_S:g} s: what was in hand goes back to the queue")
            self._end()

    def _end(self) -> None:
        """Runner, consumer, copies and notice end one after the other, then the loop."""
        if self.held:
            self._is_drained = True
            process_name.change(process_name.DRAINED)
        elif not self._ended:
            self._ended = True
            self._runner.close(lambda: self._consumer.close(lambda: self._copies.close(self._end_notice)))

    def _end_notice(self) -> None:
        self._probing.end(self._loop.stop)
