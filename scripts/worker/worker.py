"""The worker: takes deliveries, has them run, and has each settled by its outcome. It never blocks."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial

from scripts.action.jobs import Outcome, Runner
from scripts.action.output import say
from scripts.amqp.workers import Report, State
from scripts.event_loop import EventLoop, Timer
from scripts.worker import headers
from scripts.worker.alive import DRAINED, DRAINING, AliveFile, rename_process
from scripts.worker.breaker import Breaker, Probing
from scripts.worker.consumer import Consumer, QueueWarnings
from scripts.worker.control import Control
from scripts.worker.deliveries import OrphanedRuns, Run
from scripts.worker.eviction import Eviction
from scripts.worker.isolation import Isolation
from scripts.worker.joblog import JobLog
from scripts.worker.metadata import job
from scripts.worker.options import Options
from scripts.worker.reconnect import Locate
from scripts.worker.reporting import Reporter
from scripts.worker.settling import Settler
from scripts.worker.verdicts import admit
from scripts.worker.window import Holding

# How long a stop waits until the broker has confirmed what is handed back; a closed connection hands it back as well.
_SETTLE_TIMEOUT_S = 10.0

# How long a worker that is done stays for who has asked it to; so nobody's death leaves workers idle for ever.
HOLD_S = 300.0


class Worker:
    """Ties consumer, runner and settler together."""

    def __init__(
        self,
        loop: EventLoop,
        options: Options,
        runner: Runner,
        locate: Locate,
        alive: AliveFile,
        eviction: Eviction,
    ) -> None:
        self._loop = loop
        self.eviction = eviction
        self._options = options
        self._runner = runner
        self._is_run_by_engine = alive.is_wanted
        self._joblog = JobLog(options.joblog, options.command, options.queue) if options.joblog is not None else None
        self._breaker = Breaker(options.breaker)
        warnings = QueueWarnings(loop, options)
        self.consumer = Consumer(loop, locate, options, warnings, alive, self._delivered, self._lost, self._give_up)
        self.settler = Settler(loop, locate, options, warnings, self._settled)
        self._isolation = Isolation(
            self.consumer, self.settler, lambda: not self._running, self._take_alone, self._start_waiting
        )
        self._probing = Probing(
            loop, self._breaker, self.consumer, self._is_free_for_a_probe, lambda: bool(self._unsettled)
        )
        self._waiting: deque[Run] = deque()
        self._unsettled: set[Run] = set()
        self._holding = Holding(loop, options, self.consumer, self._unsettled, self._waiting, self.settler.hand_back)
        self._orphaned = OrphanedRuns()
        self._probe: Run | None = None
        # What runs, and since when, by the monotonic clock.
        self._running: dict[Run, float] = {}
        self.stopping = False
        # None: not known yet, and nothing is taken before.
        self._paused: bool | None = None
        self._is_done = False
        self._settle_timer = Timer(loop, self._end_unsettled)
        self._hold = Timer(loop, self._release)
        self._reporter = Reporter(options, self.consumer, self.settler)
        self._control = Control(loop, locate, options.queue, self._report, self._pause, self._reporter.properties)
        self.exit_code = 0
        self.taken = 0

    def start(self) -> None:
        """Begin to consume as soon as the runner is ready."""
        self._control.start()
        self._runner.open(self._runner_changed, self._give_up)
        self._runner_changed()

    @property
    def idle(self) -> bool:
        """True if all that was delivered is settled."""
        return not (self._running or self._unsettled)

    @property
    def waits_for_messages(self) -> bool:
        """True while it takes messages, and has none."""
        return self.idle and self._state == "taking" and self.consumer.connection is not None

    # Taking messages

    def _delivered(self, delivered: Run) -> None:
        """Take a message that has come; with an open breaker only a probe is run."""
        self.taken += 1
        is_probe = self._probing.took()
        self._holding.came()
        run = self._orphaned.claim(delivered)
        if run is None or (run.copy == "none" and not run.begun):
            self._take(delivered, is_probe)
            return
        # It was lost with the connection and came back to us: what was done for it is not done again.
        self._unsettled.add(run)
        if run.copy == "safe":
            self.settler.ack(run)
        elif run.copy == "none" and run.outcome is not None:
            self.settler.settle(run, run.outcome)

    def _lost(self) -> None:
        """Forget what was delivered: the broker gives it to somebody, perhaps to us again."""
        for run in self._unsettled.difference(self._waiting):
            self._orphaned.add(run)
        self._waiting.clear()
        self._unsettled.clear()
        self._holding.begin_anew()
        self._isolation.lost()
        self._probing.lost()
        self._end_when_done()

    def _take(self, run: Run, is_probe: bool) -> None:
        queue = self._options.queue
        admission = admit(headers.read_past(run.properties, run.redelivered, queue), self._options.policy)
        run.attempt, run.alone = admission.attempt, admission.alone
        self._unsettled.add(run)
        is_renewable = headers.is_failed_queue(queue) and headers.failed_before(run.properties, queue)
        if is_renewable and not self.stopping:
            self.settler.renew(run)
            if is_probe:
                # Nothing was run: another message is to be the probe.
                self._probing.look()
        elif admission.refusal:
            self.settler.fail_unrun(run, admission.refusal)
        elif self.stopping or self._paused or (self._breaker.is_open and not is_probe):
            self.settler.hand_back(run)
        else:
            self._waiting.append(run)
            self._start_waiting()

    def _take_alone(self, run: Run) -> None:
        self._unsettled.add(run)
        self._go_alone(run)

    def _go_alone(self, run: Run) -> None:
        if run not in self._unsettled:
            # It was lost with its connection while the broker was asked.
            return
        is_wanted = self.settler.recipients.wait_for(run, partial(self._go_alone, run))
        if self.stopping or self._paused:
            self.settler.hand_back(run)
        elif is_wanted:
            self._run(run)
        elif is_wanted is not None:
            self.settler.drop(run)

    # Running

    def _runner_changed(self) -> None:
        if not self.consumer.started and not self.stopping and self._runner.free() > 0:
            self.consumer.start()
        self._start_waiting()

    def _start_waiting(self) -> None:
        while self._waiting and not self._isolation.busy and self._runner.free() > 0 and not self._may_rest:
            is_wanted = self.settler.recipients.wait_for(self._waiting[0], self._start_waiting)
            if is_wanted is None:
                return
            run = self._waiting.popleft()
            if not is_wanted:
                self._drop(run)
            elif run.alone:
                self._isolation.take(run)
            else:
                self._run(run)

    @property
    def _may_rest(self) -> bool:
        """True while failures are undecided by which the breaker would open."""
        return self._breaker.may_open(self.eviction.undecided)

    def _drop(self, run: Run) -> None:
        self.settler.drop(run)
        if self._breaker.is_open:
            # Nothing was run: another message is to be the probe.
            self._probing.look()

    def _run(self, run: Run) -> None:
        self._running[run] = time.monotonic()
        run.begun = True
        if run.attempt == 1 and not run.alone:
            run.trial = self._breaker.begin()
        if self._breaker.is_open:
            self._probe = run
        self._holding.began()
        one = job(self._options.queue, run, self.settler.result_limit(run))
        self._runner.start(one, partial(self._finished, run))

    def _finished(self, run: Run, outcome: Outcome) -> None:
        del self._running[run]
        self._holding.ended(outcome.seconds)
        self.eviction.judge(outcome, partial(self._judged, run))
        self._isolation.go_on()
        self._start_waiting()

    def _judged(self, run: Run, outcome: Outcome) -> None:
        run.outcome = outcome
        self._judge_host(run, outcome)
        self._isolation.go_on()
        # The next action starts first: all that is to be done for this message is done while that one runs.
        self._start_waiting()
        if self._joblog:
            self._joblog.ran(run, outcome)
        if run in self._unsettled:
            self.settler.settle(run, outcome)
        else:
            self._isolation.over(run)
        self._end_when_done()

    def _judge_host(self, run: Run, outcome: Outcome) -> None:
        if outcome.verdict == "unstartable":
            self._give_up(outcome.reason)
        was_open = self._breaker.is_open
        self._breaker.end(run.trial, outcome)
        if self._breaker.is_open != was_open and not self.stopping:
            if was_open:
                self._work_again()
            else:
                self._rest()
        if run is self._probe:
            self._probe = None
            if self._breaker.is_open:
                self._probing.failed(is_retry=run.trial is None)

    def _rest(self) -> None:
        """Take no more while the breaker is open, or end where that is no use.

        A worker on which nothing ever succeeded ends with its batch, and where no engine would start it anew.
        """
        if not self._breaker.succeeded and (self._options.until_empty or not self._is_run_by_engine):
            self._give_up(self._breaker.why)
            return
        say(f"{self._breaker.why}: taking one now and then, until one succeeds")
        self._holding.begin_anew()
        self._probing.start()
        self._hand_back_waiting()

    def _work_again(self) -> None:
        say("a message succeeded: taking all again")
        self._probing.end()
        if not self._paused:
            self.consumer.go_on()

    def _is_free_for_a_probe(self) -> bool:
        busy = self.stopping or self._paused or self._probe or self._waiting or self._isolation.busy
        return not busy and self._runner.free() > 0

    def _settled(self, run: Run) -> None:
        self._unsettled.discard(run)
        self._reporter.settled()
        self._holding.settled(run)
        self._isolation.over(run)
        self._end_when_done()

    # Asked from outside

    def _pause(self, is_paused: bool) -> None:
        """Take nothing new as long as the queue is paused, and hand back what has not begun."""
        was_paused, self._paused = self._paused, is_paused
        if self.stopping or is_paused == was_paused:
            return
        if is_paused:
            say(f"queue {self._options.queue!r} is paused: taking nothing new until ./inv queue.resume")
            self._holding.begin_anew()
            self.consumer.rest()
            self._hand_back_waiting()
        else:
            if was_paused:
                say(f"queue {self._options.queue!r} goes on")
            if not self._breaker.is_open:
                self.consumer.go_on()

    @property
    def _state(self) -> State:
        if self.stopping:
            return "draining"
        if self._paused:
            return "paused"
        if self._breaker.is_open:
            return "resting"
        return "taking" if self.consumer.started else "loading"

    def _report(self, give: Callable[[Report], None]) -> None:
        """Call `give` with a report when all has come that the broker had sent."""

        def look(*_counts: int) -> None:
            reason = self._breaker.why if self._breaker.is_open else ""
            give(self._reporter.report(self._state, reason, self.taken, len(self._unsettled), self._running))

        if not self.consumer.look(look):
            look()

    # Stopping

    def stop(self, reason: str, exit_code: int = 0) -> None:
        """Take no more, hand back what has not started, wait for what runs. A second stop ends what runs."""
        if self.stopping:
            say(f"{reason}: ending what runs now")
            self._runner.kill()
            return
        running = len(self._running)
        say(f"{reason}: stopping" + (f" when the {running} running actions are done" if running else ""))
        self.stopping = True
        self.exit_code = exit_code
        rename_process(DRAINING)
        self._holding.begin_anew()
        self.consumer.cancel(stays_healthy=self._hold.is_set)
        self._hand_back_waiting()
        if self._options.drain_s is not None:
            self._loop.call_later(self._options.drain_s, self._drain_is_over)
        self._end_when_done()

    def hold(self, reason: str) -> None:
        """Stop, but stay healthy and do not end before `wind_down`, or before nobody has asked for it for a while.

        A cluster would start another worker in the place of one that ends, and has little patience with one that it
        ends itself. So who is about to stop many asks them for this first, again and again until all are drained. One
        that was stopping before ends when it is done, and shows until then that it is draining.
        """
        if self._hold.is_set or not self.stopping:
            self._hold.set(HOLD_S, "not asked to stay any longer")
        if not self.stopping:
            self.stop(reason)

    def wind_down(self, reason: str) -> None:
        """Stop, and stay no longer where `hold` asked for that; what runs is not ended."""
        if self._hold.is_set:
            self._release(reason)
        elif self.stopping:
            say(f"{reason}: stopping already; a second signal ends what runs")
        else:
            self.stop(reason)

    def evict(self, reason: str) -> None:
        """Stop, as the actions are told to end, too: what still runs when the grace is over is killed."""
        if not self.eviction.begin(self._grace_is_over):
            return
        say(f"{reason}: evicted; what runs longer than {self.eviction.grace_s:g} s goes back to the queue")
        if self._hold.is_set:
            self._release(reason)
        elif not self.stopping:
            self.stop(reason)

    def _grace_is_over(self) -> None:
        if self._running:
            say(f"{len(self._running)} actions still run after {self.eviction.grace_s:g} s: ending them")
        self._runner.kill(at_once=True)

    def _release(self, reason: str) -> None:
        say(f"{reason}: staying no longer")
        self._hold.stop()
        if self._is_done:
            self._end()

    def _hand_back_waiting(self) -> None:
        for run in [*self._waiting, *self._isolation.withdraw()]:
            self.settler.hand_back(run)
        self._waiting.clear()

    def _give_up(self, reason: str) -> None:
        """Stop, this host or queue being no good; a stop that was asked for before goes on as it was."""
        if not self.stopping:
            self.stop(reason, exit_code=1)

    def _drain_is_over(self) -> None:
        if self._running:
            self.stop(f"{len(self._running)} actions still run after {self._options.drain_s:g} s (--drain)")

    def _end_when_done(self) -> None:
        if not self.stopping or self._running or self.eviction.undecided or self._is_done:
            return
        if not self._unsettled and not self._isolation.busy:
            self._end()
        elif not self._settle_timer.is_set:
            self._settle_timer.set(_SETTLE_TIMEOUT_S)

    def _end_unsettled(self) -> None:
        say(f"the broker did not confirm within {_SETTLE_TIMEOUT_S:g} s: what was in hand goes back to the queue")
        self._end()

    def _end(self) -> None:
        """End runner, consumer, copies and control one after the other, then the loop; or stay, where that is asked."""
        self._is_done = True
        self._settle_timer.stop()
        self.settler.recipients.say_dropped()
        if self._hold.is_set:
            rename_process(DRAINED)
        else:
            self._probing.end()
            end_control = partial(self._control.close, self._loop.stop)
            self._runner.close(lambda: self.consumer.close(lambda: self.settler.copies.close(end_control)))
