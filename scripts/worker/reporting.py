"""The report that a worker gives of itself when it is asked (`inv status`, `inv wait`)."""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from scripts import VERSION
from scripts.amqp.workers import MOST_RUNNING, Report, Running, State, properties_of
from scripts.worker.consumer import Consumer
from scripts.worker.deliveries import Run
from scripts.worker.headers import timestamp_text
from scripts.worker.metadata import item_of
from scripts.worker.options import Options
from scripts.worker.settling import Settler

# By which all engines name their instances, as Marathon does.
_NAME = "MESOS_TASK_ID"

_PACE_OF_S = 60.0
_SLICE_S = 5.0


class Pace:
    """A number a second in the last minute, or since its beginning where that is later."""

    def __init__(self, now_s: float) -> None:
        self._began_s = now_s
        # The beginning of each slice of time in which something ended, and how many ended in it.
        self._slices: deque[list[float]] = deque()

    def count(self, now_s: float, more: int) -> None:
        """Count so many more."""
        if not self._slices or now_s - self._slices[-1][0] >= _SLICE_S:
            self._slices.append([now_s, 0])
        self._slices[-1][1] += more
        self._forget(now_s)

    def rate(self, now_s: float) -> float:
        """Return how many ended in a second."""
        self._forget(now_s)
        return sum(count for _, count in self._slices) / max(1.0, min(_PACE_OF_S, now_s - self._began_s))

    def _forget(self, now_s: float) -> None:
        while self._slices and now_s - self._slices[0][0] > _PACE_OF_S:
            self._slices.popleft()


class Reporter:
    """Tells of a worker, as far as it knows of it by itself; `properties` are what its connection says of it."""

    def __init__(self, options: Options, consumer: Consumer, settler: Settler) -> None:
        self._options, self._consumer, self._settler = options, consumer, settler
        self._since_s = time.time()
        self._pace = Pace(time.monotonic())
        self._finished = 0
        self._host, self._pid = socket.gethostname(), os.getpid()
        self._name = os.environ.get(_NAME, "")

    @property
    def properties(self) -> dict[str, Any]:
        """Return what the worker's connection says of it."""
        since = timestamp_text(self._since_s)
        return properties_of(self._options.queue, self._options.jobs, since, f"{self._host}-{self._pid}", VERSION)

    def settled(self) -> None:
        """Count what was done, or has failed for good, since the last time."""
        before, self._finished = self._finished, self._settler.done + self._settler.failed
        if self._finished > before:
            self._pace.count(time.monotonic(), self._finished - before)

    def report(self, state: State, reason: str, taken: int, in_hand: int, began: Mapping[Run, float]) -> Report:
        """Return the report; `began` has what runs, and when each began by the monotonic clock."""
        now_s = time.monotonic()
        longest = sorted(began.items(), key=lambda one: one[1])[:MOST_RUNNING]
        running = (Running(run.id, item_of(run), run.attempt, round(now_s - at_s, 3)) for run, at_s in longest)
        return Report(
            queue=self._options.queue, host=self._host, pid=self._pid, name=self._name, version=VERSION,
            since=self._since_s, jobs=self._options.jobs, state=state, reason=reason, done=self._settler.done,
            failed=self._settler.failed, retried=self._settler.retried, rate=self._pace.rate(now_s), taken=taken,
            in_hand=in_hand, subscriptions=self._consumer.subscriptions, running=tuple(running),
        )  # fmt: skip
