"""A run: items are published, and their results collected, side by side on one event loop, until each has a record."""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from cluster.interrupts import Interrupted, Signals
from cluster.queue.publishing.items import Item, Position
from cluster.queue.publishing.link import Target
from cluster.queue.publishing.publisher import TICK_S, Publisher, Watch
from cluster.queue.publishing.sources import Source
from cluster.queue.runs.collector import PREFETCH, Collector
from cluster.queue.runs.halt import Halt
from cluster.queue.runs.items import Items
from cluster.queue.runs.messages import ItemProperties, read_result
from cluster.queue.runs.output import Output
from cluster.queue.runs.record import Record
from cluster.queue.runs.sidecar import Sidecar, State
from cluster.terminal import RunProgress, counted
from scripts.amqp.queues import results_queue
from scripts.errors import ClusterError
from scripts.event_loop import EventLoop, Timer, in_thread

# Results wait so long, or until so many are there, to be brought to the disk and acknowledged together.
# Where the disk is slow, at least half of the time is left for everything else.
_GROUP_S = 0.05
_GROUP_MOST_S = 1.0
_GROUP_RESULTS = PREFETCH // 2

# At most one item a slot is published until one succeeds, or for so long.
_FIRST_S = 2.0

# No result for so long: is something in the way? It is asked so often then, and from time to time anyhow.
_QUIET_S = 2.0
_ASK_EVERY_S = 10.0
# The broker's figures are up to ten seconds old: the second look must not rest on any from before the first.
_LOOKS_APART_S = 12.0
# All workers rest for so many looks: at one of them a worker may have been connecting anew.
_RESTING_LOOKS = 2
# Nobody works on the items for so long, and nothing has succeeded yet: the run goes on when somebody has seen to that.
_NOBODY_S = 300.0
# With no result for so long it is said that this cannot be known, where it cannot.
_UNKNOWN_S = 60.0

# More results than these on their way: it is this side that the workers wait for.
_MANY_WAITING = 10_000

_RATE_OVER_S = 30.0

NO_ANSWER = "no result came, twice: the message was purged, has expired, or was taken by somebody else"


@dataclass(frozen=True)
class Resting:
    """Says why a worker takes one item now and then: too much fails there; `are_all`: no other worker takes any.

    Where the queue `is_paused`, or all workers `are_waiting` for room at their engine, it says so, and nobody takes any
    before that changes.
    """

    why: str = ""
    are_all: bool = False
    is_paused: bool = False
    are_waiting: bool = False


@dataclass(frozen=True)
class Around:
    """Questions of a run to the world around it, which are asked in a thread.

    `resting` says who works on one now and then only.
    `trouble` says why nothing works on the items, empty while somebody does. The run ends where it lasts for
    `ends_after_s`; with None it lasts long, and nothing has succeeded yet.
    `left` counts the messages of the queue that wait or are in work, whosever they are; None: that cannot be known.
    `flag` means its broker in a command line that is suggested, with a blank before; empty where none is needed.
    """

    resting: Callable[[], Resting] = Resting
    trouble: Callable[[], str] = lambda: ""
    left: Callable[[], int | None] = lambda: None
    ends_after_s: float | None = None
    flag: str = ""


@dataclass
class Summary:
    """The outcome of a session; `hosts` counts its results, `repeats` those that came more than once."""

    total: int
    done: int = 0
    failed: int = 0
    seconds: float = 0.0
    repeats: int = 0
    hosts: Counter[str] = field(default_factory=Counter)
    halted: str = ""
    run: str = ""

    def as_json(self) -> str:
        """Return the same for programs."""
        return json.dumps(vars(self))


class Rate:
    """The number of items a second in the last half minute."""

    def __init__(self, done: int) -> None:
        self._seen = deque([(time.monotonic(), done)])

    def at(self, done: int) -> float:
        """Return the rate, now that so many are done."""
        now = time.monotonic()
        if now - self._seen[-1][0] >= 1:
            self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[1][0] > _RATE_OVER_S:
            self._seen.popleft()
        then, before = self._seen[0]
        return (done - before) / max(now - then, 0.001)


def _now_and_then(resting: Resting) -> str:
    if resting.is_paused or resting.are_waiting:
        return resting.why
    return f"{resting.why}: taking one now and then, until one succeeds" if resting.why else ""


def _note_of(resting: Resting) -> str:
    if resting.is_paused or resting.are_waiting:
        return "paused" if resting.is_paused else "all workers wait"
    return "one now and then" if resting.why else ""


# "pause": the run is gone on with later. "complete": all is done. "cancel": it is given up, and workers drop what is
# left of it, since its queue is deleted. "cancelled": somebody else did that.
_How = Literal["pause", "complete", "cancel", "cancelled"]


class Run:
    """Publishes what has no record yet, unless it is published already, and collects until each item has one.

    Args:
        slots: how many items the workers take at once; 0: not known.
        detach: end when all is published.
    """

    def __init__(
        self, items: Items, output: Output, sidecar: Sidecar, target: Target, around: Around, halt: Halt, *,
        slots: int, detach: bool, say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._items, self._output, self._sidecar, self._target = items, output, sidecar, target
        self._around, self._halt, self._slots, self._detach, self._say = around, halt, max(slots, 1), detach, say
        self._loop = EventLoop()
        self._publisher: Publisher | None = None
        self._sync_timer = Timer(self._loop, self._sync)
        self._group_s = _GROUP_S
        self._unsynced = 0
        self._summary = Summary(items.total)
        self._error: ClusterError | None = None
        self._how: _How | None = None
        self._succeeded = len(output.done) > output.failed
        self._succeeded_now = False
        self._began = self._last_result = self._asked_at = time.monotonic()
        self._is_asking = False
        self._empty_since: float | None = None
        self._nobody_since: float | None = None
        self._resting_looks = 0
        self._waiting = 0
        self._said = self._note = ""
        self._rate = Rate(len(output.done))
        self._has_collected = False
        self._collect(is_new=not self._state.published and self._state.offset == 0)

    def go(self, show: Callable[[RunProgress], None]) -> Summary:
        """Publish and collect until all is on the disk, or it is given up.

        Raises:
            Interrupted: a signal came; what came so far is safe, and the same command goes on.
            ClusterError: the run cannot go on now; what came so far is safe.
        """
        with Signals() as signals:
            try:
                self._collector.start()
                self._tick(signals, show)
                self._loop.run()
            except KeyboardInterrupt as again:
                raise Interrupted("interrupted twice; the same command goes on") from again
            finally:
                self._loop.close()
        show(self._progress())
        if self._error:
            raise self._error
        summary = self._summary
        summary.done, summary.failed = len(self._output.done), self._output.failed
        summary.seconds = time.monotonic() - self._began
        return summary

    # What happens at the queue of results

    def collecting(self) -> None:
        """Publish, now that results can come, unless that is under way or done."""
        self._has_collected = True
        self._finish_if_done()
        if self._how or self._publisher:
            return
        if not self._state.published:
            self._publish(self._state.position)
        elif self._detach:
            self._end("pause")

    def came(self, properties: Any, body: bytes, is_repeat: bool) -> None:
        """Write the record of a result."""
        record = read_result(properties, body, self._items, self._state.run)
        if record is None:
            named = f"correlation id {properties.correlation_id!r}"
            self._say(f"a message in {self._queue!r} that is no result of these items was dropped ({named})")
        elif not self._output.write(record):
            self._summary.repeats += 1
        else:
            self._count(record)
        self._unsynced += 1
        if self._unsynced >= _GROUP_RESULTS:
            self._sync()
        elif not self._sync_timer.is_set:
            self._sync_timer.set(self._group_s)
        self._finish_if_done()

    def gone(self) -> None:
        """Begin anew with what has no result where the queue was deleted before this session, else end."""
        run = self._state.run
        if len(self._output.done) >= self._items.total:
            self._end("cancelled")
        elif self._has_collected or self._how:
            why = f"run {run} was cancelled: its queue of results was deleted; the same command runs what has no result"
            self._end("cancelled", ClusterError(why))
        else:
            self._say(f"the queue of results of run {run} is no longer there: what has no result is published again")
            self._sidecar.begin(self._state.wanted)
            self._collector.end(lambda _deleted: None)
            self._collect(is_new=True)
            self._collector.start()

    def refused(self, error: ClusterError) -> None:
        """End, since the broker cannot be used."""
        self._end("pause", error)

    # What is done about it

    @property
    def _state(self) -> State:
        assert self._sidecar.state
        return self._sidecar.state

    def _collect(self, is_new: bool) -> None:
        self._summary.run = self._state.run
        self._queue = results_queue(self._target.queue, self._state.run)
        self._collector = Collector(self._loop, self._target, self._queue, self, self._say, is_new)

    def _publish(self, at: Position) -> None:
        run = self._state.run
        source = Source(
            self._items.name, self._unanswered, lambda line: f"item {line:,}", self._items.total,
            self._items.source.largest_bytes, self._items.source.largest_line, prefix=run,
            key=lambda item: item.line, properties=ItemProperties(run, self._queue, self._items),
        )  # fmt: skip
        watch = Watch(self._say, confirmed=self._sidecar.at)
        self._publisher = Publisher(source, self._target, watch, at, self._loop, self._published)
        if not (self._succeeded or self._state.again or self._detach):
            self._publisher.sender.allowance = self._slots
            self._loop.call_later(_FIRST_S, self._publish_all)
        self._publisher.begin()

    def _unanswered(self, at: Position) -> Iterator[Item]:
        done = self._output.done
        for body, offset, _length, number, place, end, next_line in self._items.start(at):
            if number not in done:
                yield Item(body, offset, end, number, next_line, place + 1)

    def _publish_all(self) -> None:
        if self._publisher and self._publisher.sender.allowance is not None:
            self._publisher.sender.allowance = None
            self._publisher.sender.fill()

    def _published(self) -> None:
        publisher, self._publisher = self._publisher, None
        assert publisher
        if self._how:
            self._close()
            return
        try:
            publisher.result()
        except ClusterError as error:
            self._end("pause", error)
            return
        self._sidecar.write(replace(self._state, published=True))
        self._last_result = time.monotonic()
        if self._detach:
            self._end("pause")

    def _count(self, record: Record) -> None:
        self._last_result = time.monotonic()
        self._empty_since = None
        self._summary.hosts[record.host] += 1
        if not record.failed:
            self._succeeded_now = True
            if not self._succeeded:
                self._succeeded = True
                self._publish_all()
        elif reason := self._halt.failed(record, self._succeeded):
            self._give_up(reason)

    def _give_up(self, reason: str) -> None:
        if not self._how:
            self._summary.halted = reason
            self._end("cancel")

    def _finish_if_done(self) -> None:
        if len(self._output.done) >= self._items.total:
            self._end("complete")

    def _sync(self) -> None:
        """Bring to the disk what was written, then acknowledge it."""
        self._sync_timer.stop()
        if self._unsynced:
            began = time.monotonic()
            self._output.sync()
            self._group_s = min(max(_GROUP_S, time.monotonic() - began), _GROUP_MOST_S)
            self._unsynced = 0
            self._collector.acknowledge()

    def _end(self, how: _How, error: ClusterError | None = None) -> None:
        if self._how:
            return
        self._how, self._error = how, error
        if self._publisher:
            self._publisher.refused(error or ClusterError("the run has ended"))
        else:
            self._close()

    def _close(self) -> None:
        self._sync()
        self._collector.end(self._closed, delete=self._how in ("complete", "cancel"))

    def _closed(self, is_deleted: bool) -> None:
        """Note that the run is over; one whose queue may still be there is ended by the next session."""
        if is_deleted or self._how == "cancelled":
            self._sidecar.write(State(self._state.wanted))
        self._loop.stop()

    # What is looked at from time to time

    def _tick(self, signals: Signals, show: Callable[[RunProgress], None]) -> None:
        if signals.came:
            self._end("pause", signals.came(self._left_off()))
        if self._publisher:
            self._publisher.tick()
        now = time.monotonic()
        is_quiet = now - max(self._last_result, self._asked_at) > _QUIET_S
        if not (self._how or self._is_asking) and (is_quiet or now - self._asked_at > _ASK_EVERY_S):
            self._ask()
        show(self._progress())
        self._loop.call_later(TICK_S, lambda: self._tick(signals, show))

    def _left_off(self) -> str:
        done, total = len(self._output.done), self._items.total
        return (
            f"interrupted: {done:,} of {counted(total, 'item')} done; the same command goes on, and {self._cancel()} "
            "gives it up"
        )

    def _cancel(self) -> str:
        return f"./inv map.cancel{self._around.flag} --run {self._state.run}"

    def _progress(self) -> RunProgress:
        done = len(self._output.done)
        note = ""
        if self._waiting > _MANY_WAITING:
            note = f"{self._waiting:,} results wait to be written"
        elif self._note:
            note = self._note
        return RunProgress(self._items.total, done, self._output.failed, self._rate.at(done), note)

    def _ask(self) -> None:
        """Look what is in the way: nobody works, or what was published is no longer there."""
        self._is_asking = True
        is_published = self._publisher is None and self._state.published

        def ask() -> tuple[Resting, str, int | None]:
            resting = self._around.resting()
            trouble = "" if resting.why else self._around.trouble()
            return resting, trouble, self._around.left() if is_published and not trouble else None

        def failed(_reason: str) -> None:
            answered((Resting(), "", None))

        def answered(answer: tuple[Resting, str, int | None]) -> None:
            self._is_asking, self._asked_at = False, time.monotonic()
            if not self._how:
                self._take_trouble(answer[0], answer[1])
                self._take_left(answer[2])

        in_thread(self._loop, ask, self._loop.guard(answered), self._loop.guard(failed))
        self._collector.waiting(self._note_waiting)

    def _note_waiting(self, results: int) -> None:
        self._waiting = results

    def _take_trouble(self, resting: Resting, trouble: str) -> None:
        """Say what is in the way; end where it stays there, and nothing that this session saw speaks against that."""
        now = time.monotonic()
        self._note = "no worker" if trouble else _note_of(resting)
        self._nobody_since = (self._nobody_since or now) if trouble else None
        self._resting_looks = self._resting_looks + 1 if resting.are_all else 0
        is_hopeless = self._resting_looks >= _RESTING_LOOKS and not self._succeeded_now
        nobody_s, ends_after_s = now - (self._nobody_since or now), self._around.ends_after_s
        is_left = nobody_s > _NOBODY_S and not self._succeeded_now if ends_after_s is None else nobody_s >= ends_after_s
        if is_hopeless and (reason := self._halt.resting(resting.why)):
            self._give_up(reason)
        elif trouble and is_left:
            self._end("pause", ClusterError(trouble))
        elif trouble and ends_after_s:
            pass  # It may be the moment between earlier workers and new ones.
        elif (said := trouble or _now_and_then(resting)) and said != self._said:
            self._said = said
            self._say(said)

    def _take_left(self, left: int | None) -> None:
        now = time.monotonic()
        is_unknown = left is None and self._state.published and self._collector.is_connected
        if is_unknown and now - self._last_result > _UNKNOWN_S and not self._said:
            self._said = (
                "no result for a while, and no management API tells whether items are lost or in work: if they are "
                f"lost: {self._cancel()}, and the same command runs what has no result"
            )
            self._say(self._said)
        if left != 0 or self._waiting or not self._collector.is_connected or now - self._last_result < _QUIET_S:
            self._empty_since = None
        elif self._empty_since is None:
            self._empty_since = now
        elif now - self._empty_since > _LOOKS_APART_S:
            self._empty_since = None
            self._answer_missing()

    def _answer_missing(self) -> None:
        """Publish once more what has not answered though the queue is empty; fail it where that was done before."""
        missing = self._items.total - len(self._output.done)
        if not self._state.again:
            self._say(f"the queue is empty, and {counted(missing, 'result')} did not come: published once more")
            self._sidecar.write(State(self._state.wanted, self._state.run, again=True))
            self._publish(Position())
            return
        for item in self._unanswered(Position()):
            record = Record(item.line, item.number - 1, self._items.input_of(item.offset, len(item.body)),
                            reason=NO_ANSWER, exit=None, attempts=0)  # fmt: skip
            self._output.write(replace(record, columns=self._items.named(record.input)))
        self._unsynced += 1
        self._sync()
        self._finish_if_done()
