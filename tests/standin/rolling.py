"""How many tasks of an app to kill and to launch now: TaskReplaceActor.scala, as pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any


@dataclass(frozen=True)
class Seen:
    """One task as it matters here; `dying` was told to end and has not yet."""

    id: str
    healthy: bool
    dying: bool = False
    started_at: str = ""


@dataclass(frozen=True)
class Roll:
    """One replacement of all tasks: what was old when it began, and how far it may go.

    `unplaced` are old instances without an agent: each has its place, and is ended as tasks are.
    """

    old: tuple[str, ...]
    kill_at_once: int
    max_capacity: int
    unplaced: int = 0


@dataclass(frozen=True)
class Moves:
    """What to do now."""

    kill: tuple[str, ...] = ()
    launch: int = 0


def begin_roll(app: dict[str, Any], tasks: Sequence[Seen], unplaced: int = 0) -> Roll:
    """computeRestartStrategy: what dies at once, and how many may run together.

    What has no agent yet is healthy where there are no checks (Instance.consideredHealthy).
    """
    instances, strategy = app["instances"], app["upgradeStrategy"]
    current = [task for task in tasks if not task.dying]
    healthy = sum(task.healthy for task in current) + (0 if app.get("healthChecks") else unplaced)
    least = ceil(instances * strategy["minimumHealthCapacity"])
    most = floor(instances * (1 + strategy["maximumOverCapacity"]))
    at_once = max(0, healthy - least)
    if least == most and most <= healthy:
        most += 1
    there = len(current) + unplaced
    if instances < there:
        at_once = max(at_once, there - instances)
    first_unhealthy = sorted(current, key=lambda task: task.healthy)
    return Roll(tuple(task.id for task in first_unhealthy), at_once, most, unplaced)


def still_unplaced(roll: Roll, tasks: Sequence[Seen]) -> int:
    """How many old instances without an agent are left: they go before those that run."""
    return max(0, roll.unplaced - _may_be_gone(roll, tasks))


def roll_on(app: dict[str, Any], roll: Roll, tasks: Sequence[Seen]) -> Moves:
    """One old task goes for each new one that is healthy; new ones come as far as there is room."""
    old = {task.id: task for task in tasks if task.id in roll.old}
    new = [task for task in tasks if task.id not in roll.old and not task.dying]
    may_be_gone = max(0, _may_be_gone(roll, tasks) - roll.unplaced)
    if app["instances"] == 0:
        may_be_gone = len(roll.old)
    doomed = roll.old[:may_be_gone]
    kill = tuple(each for each in doomed if each in old and not old[each].dying)
    room = max(0, roll.max_capacity - len(old) - len(new) - still_unplaced(roll, tasks))
    return Moves(kill, min(room, max(0, app["instances"] - len(new))))


def _may_be_gone(roll: Roll, tasks: Sequence[Seen]) -> int:
    """Of the old: those that go at once, and one for each new one that is healthy."""
    return roll.kill_at_once + sum(task.healthy for task in tasks if task.id not in roll.old and not task.dying)


def keep(app: dict[str, Any], tasks: Sequence[Seen]) -> Moves:
    """As many tasks as the app wants, whatever their version; those that are not healthy go first."""
    living = [task for task in tasks if not task.dying]
    surplus = len(living) - app["instances"]
    if surplus <= 0:
        return Moves(launch=-surplus)
    by_age = sorted(living, key=lambda task: task.started_at, reverse=app["killSelection"] == "YOUNGEST_FIRST")
    doomed = sorted(by_age, key=lambda task: task.healthy)[:surplus]
    return Moves(tuple(task.id for task in doomed))
