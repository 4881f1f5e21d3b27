"""The window: how many messages a worker holds. As many as run at once, and more as long as actions are short.

A message that is held waits where another worker could begin it at once. A worker that holds none waits after each
action for the broker instead, which is most of the time where actions take milliseconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Literal

from scripts.event_loop import EventLoop, Timer
from scripts.worker.consumer import Consumer
from scripts.worker.deliveries import Run
from scripts.worker.options import Options

LOOK_EVERY_S = 0.5

# How long the broker may take to send as many messages as it may; and so often it is looked whether it has any.
_FULL_WITHIN_S = 0.1
_MOST_LOOKS = 10

# Actions are short below the first; those for which more is held are so until the second.
_SHORT_S, _LONG_S = 0.05, 0.1

# What is held beyond what runs is begun within this time, and is so much for each job at most, and in all.
_AHEAD_S = 0.1
_MOST_A_JOB = 100
_MOST = 10_000

# It is decided by the actions since the last look, and so many before; at first by fewer, but not by less.
_LAST, _FEWEST = 20, 10


class Window:
    """Decides by the durations of the last actions: `size` messages are to be held at most.

    It begins with what runs at once: with few messages and many workers, the first one must not take all. It changes in
    large steps, since each costs a new subscription, and on a busy machine actions take twice as long now and then.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = self.size = jobs
        self._seconds: list[float] = []
        self._looked_at = 0

    def ended(self, seconds: float) -> None:
        """Note how long an action took."""
        self._seconds.append(seconds)

    def look(self, waiting: int) -> None:
        """Decide, every LOOK_EVERY_S, with so many messages in hand that have not begun.

        Where some wait and none of the actions that run has ended, these are long, whatever those before were.
        """
        if waiting and len(self._seconds) == self._looked_at:
            self._seconds.clear()
        wanted = self._wanted()
        if wanted == self.jobs or wanted >= 2 * self.size or 8 * wanted <= self.size:
            self.size = wanted
        del self._seconds[:-_LAST]
        self._looked_at = len(self._seconds)

    def begin_anew(self) -> None:
        """Forget what is known of the actions."""
        self._seconds.clear()
        self._looked_at = 0
        self.size = self.jobs

    def _wanted(self) -> int:
        if len(self._seconds) < _FEWEST:
            return self.jobs
        mean = sum(self._seconds) / len(self._seconds)
        if mean >= (_SHORT_S if self.size == self.jobs else _LONG_S):
            return self.jobs
        ahead = round(self.jobs * _AHEAD_S / max(mean, _AHEAD_S / _MOST_A_JOB))
        return max(self.jobs, min(self.jobs + ahead, _MOST))


@dataclass(eq=False)
class Holding:
    """Has the consumer hold what the window says, unless --prefetch says it.

    A subscription's prefetch cannot be changed: another one takes its place, and what came by the old one stays in hand
    beside it. To hold less, what has not begun goes back, and the new one is smaller by what is still in hand.

    A message that is on its way when its subscription ends is returned by the broker, and counts as lost. So a change
    waits, with the acknowledgements, until all is here that may be; where that is less, no more need be held.

    `unsettled` and `waiting` are the worker's own, of what was delivered and of what has not begun; `hand_back` sends
    one of these back to the queue.
    """

    loop: EventLoop
    options: Options
    consumer: Consumer
    unsettled: Collection[Run]
    waiting: deque[Run]
    hand_back: Callable[[Run], None]
    _change: Literal["", "more", "less", "ending"] = ""
    _looks: int = 0
    _is_idle: bool = False
    # What was in hand when a smaller window began.
    _before: set[Run] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._window = Window(self.options.jobs)
        self._next_look = Timer(self.loop, self._look)
        self._full_within = Timer(self.loop, self._not_full)

    def began(self) -> None:
        """Note that an action has begun."""
        self._is_idle = False
        if self.options.prefetch is None and not self.consumer.rests and not self._next_look.is_set:
            self._next_look.set(LOOK_EVERY_S)

    def ended(self, seconds: float) -> None:
        """Note how long an action took."""
        if self._next_look.is_set:
            self._window.ended(seconds)

    def came(self) -> None:
        """Make the change that is due, if all is here that may be."""
        if self._change in ("more", "less") and self.consumer.is_full:
            self._make_change()

    def settled(self, run: Run) -> None:
        """Take another message in the place of this one, where its own subscription does not."""
        if self._before and self._change != "ending":
            self._before.discard(run)
            self._fill_up()

    def begin_anew(self) -> None:
        """Hold what runs at once with the next subscription: the present one is gone, or about to end."""
        self._next_look.stop()
        self._drop_change()
        self._window.begin_anew()
        self._before.clear()
        self.consumer.prefetch = self.options.prefetch or self.options.jobs

    def _look(self) -> None:
        """Decide, and again soon unless nothing is to be done."""
        size, was_idle = self._window.size, self._is_idle
        self._is_idle = not self.unsettled
        if self._is_idle and was_idle:
            self._window.begin_anew()
            if size > self.options.jobs or self.consumer.subscriptions > 1:
                self._change = "less"
                self._make_change()
            return
        self._next_look.set(LOOK_EVERY_S)
        if self._change or self._is_idle:
            return
        self._window.look(len(self.waiting))
        if self._window.size > size:
            self._prepare("more")
        elif self._window.size < size or (size == self.options.jobs and self._surplus()):
            self._prepare("less")

    def _prepare(self, change: Literal["more", "less"]) -> None:
        self._change, self._looks = change, 0
        self.consumer.hold_acknowledgements(True)
        self._full_within.set(_FULL_WITHIN_S)
        self.came()

    def _not_full(self) -> None:
        """Give up to hold more; to hold less, look whether more will come."""
        if self._change == "less":
            self.consumer.look(self._looked)
        else:
            self._window.size = self.consumer.prefetch
            self._drop_change()

    def _looked(self, ready: int, _consumers: int) -> None:
        """Make the change where the queue has no more; else wait, for a while: a busy broker sends late."""
        if self._change != "less":
            return
        self._looks += 1
        if ready and self._looks < _MOST_LOOKS:
            self._full_within.set(_FULL_WITHIN_S)
        else:
            self._make_change()

    def _make_change(self) -> None:
        self._full_within.stop()
        self.consumer.prefetch = self._window.size
        if self._change == "more":
            self._before.clear()
            self.consumer.subscribe_anew()
            self._drop_change()
        else:
            self._change = "ending"
            self.consumer.unsubscribe(self._hold_less)

    def _drop_change(self) -> None:
        self._change = ""
        self._full_within.stop()
        self.consumer.hold_acknowledgements(False)

    def _hold_less(self) -> None:
        """Hand back what is too much, now that no more comes."""
        if self._change != "ending":
            return
        for run in self._surplus():
            self.waiting.remove(run)
            self.hand_back(run)
        self._before = set(self.unsettled)
        self._drop_change()
        self._fill_up()

    def _surplus(self) -> list[Run]:
        """Return what is too much, of the last that came. A suspect stays: its copy would be none any more."""
        most = len(self.unsettled) - self._window.size
        return [run for run in reversed(self.waiting) if not run.alone][: max(0, most)]

    def _fill_up(self) -> None:
        """Subscribe for what may be held beside what was in hand before; a wide window need not be full."""
        size = self._window.size
        missing = size - self.consumer.subscribed - len(self._before)
        if missing > (0 if size == self.options.jobs else size // 2):
            self.consumer.subscribe(missing)
