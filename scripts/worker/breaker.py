"""The breaker: a host on which everything fails must not eat the queue. While it is open, the worker probes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from scripts.action.jobs import Outcome
from scripts.backoff import growing_s
from scripts.event_loop import EventLoop, Timer
from scripts.worker.consumer import Consumer

FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 600.0

_LOOK_EVERY_S = 2.0


class Breaker:
    """Closed: every message is taken. Open: one now and then, as a probe.

    It opens when `limit` first attempts, counted from the worker's very first one, have failed or were rejected and
    nothing ever succeeded; later, when twice as many in a row have failed: an action that works elsewhere and rejects a
    message judges that message. Any success closes it. A retry that fails says more about its message than about the
    host, and does not count. A `limit` of 0: it never opens.

    In a row means in the order of their starts: of several at once the failures are often over first, while the good
    ones still run. `failed_probes` are those since it opened, each of which doubles the pause before the next.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.is_open = False
        self.succeeded = False
        self.why = ""
        self._begun = 0
        self._failed: set[int] = set()
        self.failed_probes = 0

    def begin(self) -> int:
        """Number a first attempt that starts."""
        self._begun += 1
        return self._begun

    def end(self, number: int | None, outcome: Outcome) -> None:
        """Count a run that is over: a first attempt by its number, a retry by None."""
        if outcome.verdict == "done":
            self.succeeded, self.is_open = True, False
            self._failed.clear()
            self.failed_probes = 0
        elif self._counts(outcome) and number is not None and self.limit and not self.is_open:
            self._failed.add(number)
            first, length = self._streak(number)
            from_the_start = first == 1 and not self.succeeded
            self.is_open = self.limit * (1 if from_the_start else 2) <= length
            which = f"its first {length} messages" if from_the_start else f"{length} messages in a row"
            self.why = f"{which} failed at their first attempt, the last: {outcome.reason}"

    def may_open(self, undecided: int) -> bool:
        """Tell whether failures open it of which so many are not counted yet."""
        limit = self.limit * (2 if self.succeeded else 1)
        return not self.is_open and undecided > 0 and 0 < limit <= len(self._failed) + undecided

    def _counts(self, outcome: Outcome) -> bool:
        return outcome.verdict == "failed" or (outcome.verdict == "rejected" and not self.succeeded)

    @property
    def pause_s(self) -> float:
        """Pause between two probes, in seconds."""
        return growing_s(FIRST_PAUSE_S, self.failed_probes + 1, LONGEST_PAUSE_S)

    def _streak(self, number: int) -> tuple[int, int]:
        """Return the first of the failures in a row that this one belongs to, and how many they are."""
        first = last = number
        while first - 1 in self._failed:
            first -= 1
        while last + 1 in self._failed:
            last += 1
        return first, last - first + 1


@dataclass(eq=False)
class Probing:
    """Looks every two seconds whether it is time for the next probe, and whether there is a message for it.

    It is always time where nobody else takes messages of the queue and this worker did some of them well: nobody gains
    by a pause there. A worker on which nothing ever succeeded makes its pauses all the same: a wrong setting that is
    left alone over a weekend must not burn the queue.

    `is_free`: one more can be run now; `is_holding`: messages are in hand.
    """

    loop: EventLoop
    breaker: Breaker
    consumer: Consumer
    is_free: Callable[[], bool]
    is_holding: Callable[[], bool]
    _last_s: float = 0.0
    _alone: bool = False
    # A message was asked for, and has not come.
    _asking: bool = False

    def __post_init__(self) -> None:
        self._next_look = Timer(self.loop, self.look)

    def start(self) -> None:
        """Give the subscription up: the breaker opened."""
        self.consumer.rest()
        self._last_s = time.monotonic()
        self._next_look.set(_LOOK_EVERY_S)

    def end(self) -> None:
        """Probe no more."""
        self._asking = False
        self._next_look.stop()

    def lost(self) -> None:
        """Forget what was asked, since the connection is gone."""
        self._asking = False

    def took(self) -> bool:
        """Tell whether a message that has come is the next probe; then no other is taken."""
        asked, self._asking = self._asking, False
        if asked:
            self.consumer.rest()
        return asked

    def failed(self, is_retry: bool) -> None:
        """Decide when the next probe is due, after one that failed."""
        if not self._without_pause:
            self._last_s = time.monotonic()
            self.breaker.failed_probes += 1
        elif is_retry:
            # That is the message's fault rather than the host's.
            self.look()

    def look(self) -> None:
        """Look now whether there is a message for a probe, and again in a while."""
        self._next_look.set(_LOOK_EVERY_S)
        if self.is_free() and not self._asking:
            self.consumer.look(partial(self._looked, 1 if self.is_holding() else 0))

    @property
    def _without_pause(self) -> bool:
        return self._alone and self.breaker.succeeded

    def _looked(self, ourselves: int, ready: int, consumers: int) -> None:
        """Ask for a message if it is time; as long as this worker holds others, it counts as a consumer itself."""
        self._alone = consumers <= ourselves
        due = self._without_pause or time.monotonic() >= self._last_s + self.breaker.pause_s
        if ready and due and self._next_look.is_set and self.is_free() and not self._asking:
            self._asking = self.consumer.take_one()
