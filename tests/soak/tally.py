"""What became of the soak's messages, and whether what was broken explains what was done twice. No side effects."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from operator import attrgetter
from typing import Literal

# The reason with which a message fails whose workers were lost; see scripts/worker/verdicts.py.
WORKER_LOST = "worker or connection was lost"
# From the start of an action until it looks at the clock, on a busy machine.
STARTED_S = 1
# From the end of an action until the broker has its acknowledgement, on a busy machine.
SETTLED_S = 2
# From the loss of a connection until the worker knows of it, on a busy machine.
NOTICED_S = 0.5
# A message bears the second at which it was published, or one before.
STAMP_S = 2


Effect = Literal["loses", "delays", "nothing"]


@dataclass(frozen=True)
class Break:
    """Something that was broken, from when to when (seconds since 1970).

    It `loses` what these workers have in hand (their numbers), or `delays` them, or does nothing to them; `publisher`:
    the publisher cannot know what arrived of what it sent; `gone`: when the connections were lost at the latest.
    """

    what: str
    began: float
    ended: float
    effect: Effect
    workers: frozenset[int] = frozenset()
    publisher: bool = False
    gone: float = math.inf

    def touches(self, began: float, ended: float) -> bool:
        return self.began <= ended and self.ended >= began


@dataclass(frozen=True)
class Run:
    """One run of the action: whose (the worker's number), its verdict, and when the message was published."""

    worker: int
    verdict: str
    began: float
    ended: float
    published: int


@dataclass(frozen=True)
class Tally:
    """`runs` by body; `failed`: body and reason of each message in the failed queue, `left`: how many are elsewhere."""

    published: frozenset[str]
    runs: dict[str, list[Run]]
    failed: list[tuple[str, str]]
    left: int
    breaks: list[Break]

    @property
    def done(self) -> set[str]:
        return {body for body, runs in self.runs.items() if any(run.verdict == "ok" for run in runs)}

    @property
    def lost(self) -> set[str]:
        return set(self.published - self.done - {body for body, _ in self.failed})

    @property
    def twice(self) -> dict[str, str]:
        """Why these were worked on twice; an empty reason: nothing explains it."""
        return {
            body: why_twice(runs, self.breaks)
            for body, runs in self.runs.items()
            if sum(run.verdict == "ok" for run in runs) > 1
        }

    @property
    def unexplained(self) -> dict[str, list[Run]]:
        return {body: self.runs[body] for body, why in self.twice.items() if not why}

    @property
    def failed_wrongly(self) -> set[tuple[str, str]]:
        """Messages that failed although their action did not say so, and not since their workers were lost."""
        return {(body, why) for body, why in self.failed if not body.endswith("99") and WORKER_LOST not in why}

    def story(self, body: str) -> str:
        """What happened to a message, and what was broken at the time."""
        runs = sorted(self.runs[body], key=attrgetter("began"))
        start = min(runs[0].published, runs[0].began)
        around = [one for one in self.breaks if one.touches(start - SETTLED_S, runs[-1].ended)]
        lines = [
            f"  {run.began - start:8.2f} to {run.ended - start:8.2f} s  {run.verdict} by worker {run.worker}, "
            f"published at {run.published - start:.0f} s"
            for run in runs
        ] + [
            f"  {one.began - start:8.2f} to {one.ended - start:8.2f} s  {one.what} {sorted(one.workers)}"
            for one in around
        ]
        return "\n".join([body, *lines])

    def __str__(self) -> str:
        twice = self.twice
        return (
            f"{len(self.published):,} published, {len(self.done):,} worked on, {len(self.lost)} lost\n"
            f"in the failed queue: {len(self.failed)} ({_counted(why for _, why in self.failed)}), left: {self.left}\n"
            f"worked on twice: {len(twice)} ({_counted(why or 'NOTHING' for why in twice.values())})\n"
            f"{len(self.breaks)} breaks ({_counted(one.what for one in self.breaks)})"
        )


def why_twice(runs: Sequence[Run], breaks: Sequence[Break]) -> str:
    """What was broken so that a message was worked on more than once; empty when nothing explains it.

    It may have been published twice, each copy with its own time, or delivered twice.
    """
    copies = [list(group) for _, group in groupby(sorted(runs, key=attrgetter("published", "began")), _published)]
    causes = [
        _published_twice(first[0].published, second[0].published, breaks) for first, second in pairwise(copies)
    ] + [
        _delivered_twice(copy, breaks) or _published_twice(copy[0].published, copy[0].published, breaks)
        for copy in copies
        if sum(run.verdict == "ok" for run in copy) > 1
    ]
    return " and ".join(dict.fromkeys(causes)) if all(causes) else ""


_published = attrgetter("published")


def _published_twice(first: int, second: int, breaks: Sequence[Break]) -> str:
    found = (one for one in breaks if one.publisher and one.touches(first - STAMP_S, second + STAMP_S))
    return next((f"{one.what}, published again" for one in found), "")


def _delivered_twice(runs: Sequence[Run], breaks: Sequence[Break]) -> str:
    """A run was under way, or not settled yet, when its worker or the connection was lost.

    A worker that lost its connection while the action ran uses the outcome when the message comes back to it: it does
    not run it twice by itself.
    """
    for run, following in pairwise(runs):
        ended = _in_doubt_until(run, following, breaks)
        by_others = run.verdict != "ok" or any(other.worker != run.worker for other in runs)
        for one in breaks:
            if (
                one.effect == "loses"
                and run.worker in one.workers
                and one.touches(run.began - STARTED_S, ended)
                and (by_others or run.ended < one.gone + NOTICED_S)
            ):
                return one.what
    return ""


def _in_doubt_until(run: Run, following: Run, breaks: Sequence[Break]) -> float:
    """When the broker certainly knew of its outcome. A message that waits for its next attempt can be doubled as well:
    the broker hands it back at least once."""
    ended = run.ended + SETTLED_S
    if run.verdict == "retry":
        ended = max(ended, following.began)
    for one in sorted(breaks, key=attrgetter("began")):
        if one.effect == "delays" and run.worker in one.workers and one.touches(run.began, ended):
            ended = max(ended, one.ended + SETTLED_S)
    return ended


def _counted(words: Iterator[str]) -> str:
    return ", ".join(f"{count} {word}" for word, count in sorted(Counter(words).items())) or "none"
