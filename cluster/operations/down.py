"""Stopping all that was started on this machine."""

from __future__ import annotations

from cluster.components import QUEUE, REGISTRY
from cluster.queue import counts as queue_counts
from cluster.schedulers import Say, selection
from cluster.settings import Settings
from cluster.terminal import counted
from scripts.errors import ClusterError


def down(settings: Settings, *, data: bool, now: bool, say: Say) -> None:
    """Stop all apps of this project on this machine, workers first; with `data` delete their volumes too."""
    for engine in selection.of_this_machine(settings, say):
        for app_id in sorted((app.id for app in engine.status()), key=_workers_first):
            if data and app_id == QUEUE.app_id:
                say(_messages_lost(settings))
            say(f"stopping {app_id} ({engine.name})")
            engine.stop(app_id, now)
        for name in engine.delete_data("") if data else ():
            say(f"deleted {name}")


def _workers_first(app_id: str) -> tuple[int, str]:
    return (1 if app_id == QUEUE.app_id else 2 if app_id == REGISTRY.app_id else 0, app_id)


def _messages_lost(settings: Settings) -> str:
    try:
        found = queue_counts.at_rest(queue_counts.now(settings.queue.management, settings.queue.url))
    except ClusterError:
        return "deleting the queues with their messages; how many is not known, since the queue does not answer"
    counts = [(queue.name, queue.messages) for queue in found if queue.messages]
    total = sum(count for _, count in counts)
    names = ", ".join(f"{name} {count:,}" for name, count in counts)
    unknown = ", ".join(queue.name for queue in found if queue.messages is None)
    deleting = f"deleting {counted(total, 'message')}{f' ({names})' if names else ''}"
    if unknown:
        return f"{deleting} and those in {unknown}, not counted yet"
    return deleting if total else "no messages are in the queues"
