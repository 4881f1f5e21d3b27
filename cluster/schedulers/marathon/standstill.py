"""Replacements that Marathon itself does not go on with, though the definition lets it.

When it begins, Marathon ends as many old instances as are healthy and not needed, and one more for each new one that
becomes healthy (TaskReplaceActor.scala of 1.10; up to 1.9 it counted all that run). Where no instance may be beside
another, as with data, an old one that was not healthy then stays where it is, and so does one that never found an
agent: the new one waits for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import floor
from typing import Any

from scripts.marathon.answers import App, Task, is_healthy, is_outdated, mapping, mappings, runs


def in_the_way(app: App, before: App | None) -> list[Task]:
    """Return the old tasks that Marathon leaves in the way of the new ones; `before` is the app as it was.

    None are where the definition wants some to be healthy: an old worker may be at work until a new one is.
    """
    if not _ends_before_it_starts(app):
        return []
    healthy = [task.get("id") for task in mappings((before or {}).get("tasks")) if is_healthy(before or {}, task)]
    old = [task for task in mappings(app.get("tasks")) if runs(task) and is_outdated(app, task)]
    return [task for task in old if task.get("id") not in healthy]


def waits_for_the_new(app: App) -> bool:
    """Return whether old instances that are not healthy stay until new ones are, and of those none runs."""
    if _ends_before_it_starts(app):
        return False
    running = [task for task in mappings(app.get("tasks")) if runs(task)]
    return bool(running) and all(is_outdated(app, task) and not is_healthy(app, task) for task in running)


def never_placed(app: App) -> bool:
    """Return whether nothing of it runs, and an instance that finds no agent keeps the place of any other."""
    return leaves_no_room(app) and bool(app.get("healthChecks")) and not mappings(app.get("tasks"))


def leaves_no_room(app: Mapping[str, Any]) -> bool:
    """Return whether no more instances may be there than are wanted."""
    wanted = int(app.get("instances") or 0)
    return floor(wanted * (1 + _strategy(app, "maximumOverCapacity"))) <= wanted


def _ends_before_it_starts(app: App) -> bool:
    return leaves_no_room(app) and _strategy(app, "minimumHealthCapacity") == 0


def _strategy(app: Mapping[str, Any], key: str) -> float:
    return float(mapping(app.get("upgradeStrategy")).get(key, 1))
