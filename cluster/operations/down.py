"""Stopping all that was started on this machine, or on a cluster."""

from __future__ import annotations

from cluster.components import QUEUE, REGISTRY
from cluster.operations.brokers import queue_at
from cluster.queue import counts as queue_counts
from cluster.schedulers import Say, Scheduler, selection
from cluster.settings import Settings
from cluster.terminal import counted
from scripts.errors import ClusterError


def down(settings: Settings, *, data: bool, now: bool, at: str = "", marathon: str = "", say: Say) -> None:
    """Stop all apps of this project, workers first; with `data` delete their volumes too.

    Those of this machine are meant, unless `at` or `marathon` says another engine.
    """
    if at or marathon:
        _stop_all(settings, selection.connect(settings, selection.chosen(settings, at, marathon), say), data, now, say)
        return
    for engine in selection.of_this_machine(settings, say):
        _stop_all(settings, engine, data, now, say)
    if not (usual := selection.Choice(settings.scheduler)).is_here:
        say(f"stopped on this machine alone; ./inv down --at {usual} stops what runs on {usual}")


def _stop_all(settings: Settings, engine: Scheduler, data: bool, now: bool, say: Say) -> None:
    deletes = data and not engine.has_hosts
    for app_id in sorted((app.id for app in engine.status()), key=_workers_first):
        if deletes and app_id == QUEUE.app_id:
            say(_messages_lost(settings, engine))
        say(f"stopping {app_id} ({engine.name})")
        engine.stop(app_id, now)
    for name in engine.delete_data("") if deletes else ():
        say(f"deleted {name}")
    if data and not deletes:
        say(f"data is not deleted: it stays on the hosts of {engine.place}, under /var/lib/cluster")


def _workers_first(app_id: str) -> tuple[int, str]:
    return (1 if app_id == QUEUE.app_id else 2 if app_id == REGISTRY.app_id else 0, app_id)


def _messages_lost(settings: Settings, engine: Scheduler) -> str:
    try:
        there = queue_at(settings, engine)
        found = queue_counts.at_rest(queue_counts.now(there.management, there.url))
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
