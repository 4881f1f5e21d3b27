"""Waiting until all work of a queue is settled, with a bar, and telling what has failed since it was published."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

from cluster.operations.brokers import Broker, broker_meant
from cluster.queue.publishing.publisher import RetryDeadline
from cluster.queue.runs.halt import Halt
from cluster.queue.runs.run import Rate
from cluster.queue.waiting.certainty import APART_S, Certainty, Reading
from cluster.queue.waiting.note import NoteFile
from cluster.queue.waiting.readings import Lookout
from cluster.queue.waiting.remarks import Remarks
from cluster.queue.waiting.tally import Tally
from cluster.schedulers import Say
from cluster.settings import Settings
from cluster.terminal import RunProgress, counted, run_bar
from scripts.amqp.broker import identity
from scripts.amqp.queues import checked_name
from scripts.errors import ClusterError, MessagesFailed, ServiceAway

# Between two looks, and longer where a look takes long: with thousands of workers each is work for them.
_LOOK_EVERY_S = 0.3
_PAUSE_PER_LOOK = 5
_LONGEST_PAUSE_S = 2.0

# So long who looks at the failed queue is waited for; longer there are workers of it, say.
_HELD_FOR_S = 20.0

# The API may be away for a moment, and has no numbers for a queue that is new.
_API_AWAY_S = 20.0


@dataclass(frozen=True)
class Flags:
    """The flags of `inv wait`; 0 seconds is without end."""

    queue: str = ""
    halt: str = ""
    timeout_s: float = 0.0
    retry_for_s: float = 60.0
    at: str = ""
    marathon: str = ""
    url: str = ""


@dataclass(frozen=True)
class Ended:
    """The end of the work: how many messages there were, as far as it is known, and how many of them failed."""

    queue: str
    messages: int
    failed: int
    seconds: float

    def as_json(self) -> str:
        """Return the same for programs."""
        return json.dumps(vars(self))


def run(settings: Settings, flags: Flags, say: Say) -> Ended:
    """Return when nothing of the queue is ready, in work or to be tried again.

    What failed is counted since this checkout published first after the last end that was told of, else from now on.

    Raises:
        MessagesFailed: too many have failed (`halt`).
        ServiceAway: the broker is away for too long; or what foreign consumers hold cannot be known.
        ClusterError: no such queue, also meanwhile; or the time is over.
    """
    Halt.read(flags.halt, 1)
    queue = checked_name(flags.queue or settings.queue.name)
    broker = broker_meant(settings, flags.url, flags.at, flags.marathon, say)
    wait = _Wait(queue, broker, flags, say)
    with run_bar(say) as show:
        ended = wait.go(show)
    wait.note.reported(wait.failed_now)
    if not ended.failed:
        what = f"all {counted(ended.messages, 'message')} of" if ended.messages else "nothing is left to do in"
        say(f"{what} {queue!r}{' are done, none failed' if ended.messages else ''}, after {ended.seconds:.1f} s")
        if wait.failed_now:
            say(f"{wait.failed_now:,} failed earlier: {_why(queue, broker.flags)}")
    return ended


def check(ended: Ended, flags: str = "") -> None:
    """Raise MessagesFailed where some have failed; `flags` mean their broker in a command line."""
    if ended.failed:
        of = f" of {ended.messages:,}" if ended.messages >= ended.failed else ""
        what = "message" if ended.failed == 1 and not of else "messages"
        raise MessagesFailed(f"{ended.failed:,}{of} {what} of {ended.queue!r} failed: {_why(ended.queue, flags)}")


class _Looked(NamedTuple):
    reading: Reading
    is_over: bool
    clear_for_s: float
    lookout: Lookout


class _Wait:
    """Looks until all is settled; `failed_now` is what was in the failed queue then."""

    def __init__(self, queue: str, broker: Broker, flags: Flags, say: Say) -> None:
        self._queue, self._broker, self._flags, self._say = queue, broker, flags, say
        self.note = NoteFile(broker.service or identity(broker.url), queue)
        self.failed_now = 0
        self._failed_before: int | None = None
        self._tally = Tally()
        self._remarks = Remarks(queue, say)

    def go(self, show: Callable[[RunProgress], None]) -> Ended:
        began_s, rate, tally = time.monotonic(), None, self._tally
        with closing(self._looks()) as looks:
            for looked in looks:
                failed = self._count(looked)
                rate = rate or Rate(tally.done)
                if looked.is_over and not (looked.lookout.is_failed_held and looked.clear_for_s < _HELD_FOR_S):
                    return Ended(self._queue, tally.total, failed, round(time.monotonic() - began_s, 3))
                self._halt(failed)
                note = self._remarks.of(looked.reading, looked.lookout.is_paused)
                show(RunProgress(tally.total, tally.done, failed, max(0.0, rate.at(tally.done)), note, "message"))
                self._give_up(looked, time.monotonic() - began_s)
        raise AssertionError("looks never end")

    def _looks(self) -> Generator[_Looked, None, None]:
        """Look again and again; a broker that goes away is waited for, and found anew where it may move."""
        retry, url, was_there = RetryDeadline(self._flags.retry_for_s, self._say), self._broker.url, False
        while True:
            try:
                if was_there and self._broker.find:
                    url = _found_again(self._broker.find)
                with Lookout(url, self._queue, self._broker.management, self._broker.flags) as lookout:
                    certainty = Certainty(was_lost=was_there)
                    while True:
                        reading = lookout.look()
                        if retry.trouble:
                            self._say("connected again")
                        retry.success()
                        was_there, is_over = True, certainty.look(reading)
                        clear_for_s = certainty.clear_for_s(time.monotonic())
                        yield _Looked(reading, is_over, clear_for_s, lookout)
                        lookout.pause(_pause_s(reading, clear_for_s))
            except ServiceAway as away:
                pause_s = retry.failure(away) if was_there else 0.0
                if not was_there or retry.is_over():
                    raise
                time.sleep(pause_s)

    def _count(self, looked: _Looked) -> int:
        """Note how far it is; return how many have failed."""
        note = self.note.read()
        if not looked.lookout.is_failed_held or self._failed_before is None:
            self.failed_now = looked.lookout.failed
        if self._failed_before is None:
            self._failed_before = self.failed_now
        # Who takes messages out of the failed queue makes no room for failures that nobody hears of.
        before = min(self._failed_before, note.failed) if note and note.is_open else self._failed_before
        self._failed_before = min(before, self.failed_now)
        self._tally.look(looked.reading, note.published if note else 0)
        return self.failed_now - self._failed_before

    def _halt(self, failed: int) -> None:
        halt = Halt.read(self._flags.halt, self._tally.total)
        if halt.most is not None and failed >= halt.most:
            raise MessagesFailed(
                f"given up: {counted(failed, 'message')} failed (--halt {halt.text}), and workers go on with the rest; "
                f"{_why(self._queue, self._broker.flags)}"
            )

    def _give_up(self, looked: _Looked, waited_s: float) -> None:
        """End where it cannot be known whether all is settled, or the time is over."""
        reading, lookout = looked.reading, looked.lookout
        if looked.clear_for_s > _API_AWAY_S and not reading.all_answer and not reading.figures:
            raise ServiceAway(
                f"nothing of {self._queue!r} is ready, but it is not certain that all is done: consumers that do not "
                f"answer may have messages in hand, which the management API alone knows: {lookout.api_problem}"
            )
        if self._flags.timeout_s and waited_s > self._flags.timeout_s:
            left, after = reading.after, f"after {self._flags.timeout_s:g} s (--wait-timeout)"
            raise ClusterError(
                f"{self._queue!r} is not done {after}: {left.ready:,} ready, {reading.in_hand:,} in work, "
                f"{left.to_retry + left.alone:,} to be tried again"
            )


def _found_again(find: Callable[[], str]) -> str:
    """Return where the broker is now; one that does not run at this moment is away, and may come back."""
    try:
        return find()
    except ClusterError as error:
        raise ServiceAway(str(error)) from error


def _why(queue: str, flags: str) -> str:
    return f"./inv failed.list -q {shlex.quote(queue)}{flags} says why"


def _pause_s(reading: Reading, clear_for_s: float) -> float:
    """Return how long to wait for the next look: it may be the last one, or show what is far from its end."""
    if 0 < clear_for_s < APART_S:
        return max(0.02, min(_LOOK_EVERY_S, APART_S - clear_for_s + 0.01))
    return min(max(_LOOK_EVERY_S, _PAUSE_PER_LOOK * (reading.ended_s - reading.at_s)), _LONGEST_PAUSE_S)
