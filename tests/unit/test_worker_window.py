"""How many messages a worker holds, by how long its actions take."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripts.event_loop import EventLoop
from scripts.worker.window import Holding, Window


def _looked(window: Window, seconds: list[float], waiting: int = 1) -> int:
    for one in seconds:
        window.ended(one)
    window.look(waiting)
    return window.size


@pytest.mark.parametrize(
    ("jobs", "seconds", "size"),
    [(1, 0.01, 11), (4, 0.01, 44), (1, 0.000_01, 101), (2, 0.001, 202), (1, 0.05, 1), (1, 0.04, 3), (3, 1.0, 3)],
)
def test_more_is_held_while_actions_are_short(jobs: int, seconds: float, size: int) -> None:
    """About a tenth of a second of work, and no more than a hundred for each job."""
    assert _looked(Window(jobs), [seconds] * 20) == size


def test_nothing_is_held_before_enough_is_known() -> None:
    """A few items among many workers: the first one must not take all."""
    window = Window(2)
    assert window.size == 2
    assert _looked(window, [0.001] * 3) == 2


def test_long_actions_end_it() -> None:
    window = Window(1)
    assert _looked(window, [0.001] * 1000) == 101
    assert _looked(window, [0.5] * 10) == 1


def test_one_hiccup_among_many_does_not() -> None:
    window = Window(1)
    assert _looked(window, [0.001] * 1000) == 101
    assert _looked(window, [0.001] * 300 + [0.1]) == 101


def test_an_action_that_does_not_end_ends_it_while_others_wait() -> None:
    window = Window(1)
    _looked(window, [0.001] * 100)
    assert _looked(window, [], waiting=0) == 101
    assert _looked(window, [], waiting=5) == 1
    # What was known is of no use any more.
    assert _looked(window, [0.001] * 3) == 1


def test_small_changes_are_not_worth_a_new_subscription() -> None:
    window = Window(1)
    assert _looked(window, [0.01] * 20) == 11
    assert _looked(window, [0.0055] * 500) == 11
    assert _looked(window, [0.016] * 500) == 11
    assert _looked(window, [0.001] * 500) > 40


def test_what_begins_anew_has_to_learn_anew() -> None:
    window = Window(1)
    _looked(window, [0.001] * 100)
    window.begin_anew()
    assert window.size == 1
    assert _looked(window, [0.001] * 3) == 1


@given(st.integers(1, 10_000), st.lists(st.tuples(st.lists(st.floats(0, 1000), max_size=30), st.integers(0, 3))))
def test_it_is_never_less_than_what_runs_nor_more_than_amqp_can_say(
    jobs: int, looks: list[tuple[list[float], int]]
) -> None:
    window = Window(jobs)
    for seconds, waiting in looks:
        assert jobs <= _looked(window, seconds, waiting) <= min(101 * jobs, 65535)


class Message:
    """No suspect."""

    alone = False


class Queue:
    """A broker's queue with one worker's channel, as far as subscriptions go: each has its prefetch, and some delay."""

    def __init__(self, jobs: int) -> None:
        self.prefetch, self.rests = jobs, False
        self.live: dict[int, set[Any]] = {}
        self._sizes: dict[int, int] = {}
        self._ending: list[Callable[[], None]] = []
        self.held: list[Any] | None = None

    @property
    def subscriptions(self) -> int:
        return len(self.live)

    @property
    def subscribed(self) -> int:
        return sum(self._sizes[tag] for tag in self.live)

    @property
    def is_full(self) -> bool:
        return sum(map(len, self.live.values())) >= self.subscribed

    def subscribe(self, prefetch: int) -> None:
        tag = len(self._sizes)
        self._sizes[tag], self.live[tag] = prefetch, set()

    def subscribe_anew(self) -> None:
        self.unsubscribe(lambda: None)
        self.subscribe(self.prefetch)

    def unsubscribe(self, ended: Callable[[], None]) -> None:
        assert self.is_full, "what is on its way would be returned, and count as lost"
        self.live = {}
        self._ending.append(ended)

    def answer(self) -> None:
        """Tell that the subscriptions have ended which were to end."""
        ending, self._ending = self._ending, []
        for ended in ending:
            ended()

    def hold_acknowledgements(self, wanted: bool) -> None:
        held, self.held = self.held, [] if wanted else None
        for run in held or []:
            self.acknowledge(run)

    def acknowledge(self, run: Any) -> None:
        if self.held is not None:
            self.held.append(run)
            return
        for had in self.live.values():
            had.discard(run)

    def deliver(self) -> Any:
        """Return a message that may come now; None where none may."""
        for tag, had in self.live.items():
            if len(had) < self._sizes[tag]:
                run = Message()
                had.add(run)
                return run
        return None


class Simulated:
    """A worker's messages, and what happens to them."""

    def __init__(self, loop: EventLoop, jobs: int) -> None:
        self.jobs, self.queue = jobs, Queue(jobs)
        self.unsettled: set[Any] = set()
        self.waiting: deque[Any] = deque()
        self.running: list[Any] = []
        options: Any = SimpleNamespace(jobs=jobs, prefetch=None)
        consumer: Any = self.queue
        self.holding = Holding(loop, options, consumer, self.unsettled, self.waiting, self._settled)
        self.queue.subscribe(jobs)

    def work(self, messages: int, seconds: float) -> None:
        """Do so many messages one after the other, while the queue has more."""
        for _ in range(messages):
            self.take()
            if self.running:
                self.end(seconds)
        self.take()

    def take(self) -> None:
        """Let come what may, and begin what can begin."""
        self.queue.answer()
        while run := self.queue.deliver():
            self.unsettled.add(run)
            self.waiting.append(run)
            self.holding.came()
        self.queue.answer()
        while self.waiting and len(self.running) < self.jobs:
            self.running.append(self.waiting.popleft())
            self.holding.began()

    def end(self, seconds: float) -> None:
        """End the first action that runs."""
        run = self.running.pop(0)
        self.holding.ended(seconds)
        self._settled(run)

    def _settled(self, run: Any) -> None:
        self.queue.acknowledge(run)
        self.unsettled.discard(run)
        self.holding.settled(run)

    def look(self, ends: bool = False) -> None:
        """Look, and perhaps end an action right before that, and one before the broker answers."""
        if ends:
            self.end(0.3)
        self.holding._look()
        if ends and self.running:
            self.end(0.3)
        self.take()


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    one = EventLoop()
    yield one
    one.close()


# So many messages, of so many seconds; and whether an action ends while a subscription does.
STEP = st.tuples(st.integers(0, 40), st.sampled_from([0.001, 0.01, 0.3]), st.booleans())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(jobs=st.integers(1, 4), steps=st.lists(STEP))
def test_all_slots_work_and_nothing_waits_behind_long_actions(
    loop: EventLoop, jobs: int, steps: list[tuple[int, float, bool]]
) -> None:
    """Whatever came before, two looks after actions have become long; and no subscription ends too early."""
    worker = Simulated(loop, jobs)
    worker.work(1, 0.001)
    for messages, seconds, ends in steps:
        worker.work(messages, seconds)
        worker.look(ends)
        assert len(worker.running) == jobs
    for _ in range(4):
        worker.look()
    assert (len(worker.running), len(worker.waiting), len(worker.unsettled)) == (jobs, 0, jobs)
    for _ in range(jobs):
        worker.end(2)
        worker.take()
        assert (len(worker.running), len(worker.waiting)) == (jobs, 0)
