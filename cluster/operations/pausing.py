"""Queues that are paused for a while: their workers stay, and take nothing new."""

from __future__ import annotations

import shlex

from cluster.operations.brokers import broker_meant
from cluster.queue import workers
from cluster.schedulers import Say
from cluster.settings import Settings
from cluster.terminal import counted
from scripts.amqp.queues import checked_name

# How long workers may take to hear of it, before a person is told what they do.
_HEARD_WITHIN_S = 1.0


def pause(settings: Settings, queue: str, *, at: str, marathon: str, url: str, say: Say) -> None:
    """Let the workers of a queue finish what they run and take nothing new, those that start later as well.

    Raises:
        ClusterError: no such queue, or no broker.
    """
    name = checked_name(queue or settings.queue.name)
    broker = broker_meant(settings, url, at, marathon, say)
    is_new = workers.pause(broker.url, name, broker.flags)
    reports = workers.ask(broker.url, [name], lambda found: False, _HEARD_WITHIN_S)
    running = sum(len(one.running) for one in reports)
    takes = f"{counted(len(reports), 'worker')} {'takes' if len(reports) == 1 else 'take'} nothing new"
    finish = f"; {counted(running, 'running action')} may finish" if running else ""
    already = "" if is_new else " already"
    resume = f"./inv queue.resume -q {shlex.quote(name)}{broker.flags} lets it go on"
    say(f"{name!r} is paused{already}: {takes}{finish}; {resume}")


def resume(settings: Settings, queue: str, *, at: str, marathon: str, url: str, say: Say) -> None:
    """Let the workers of a paused queue take messages again."""
    name = checked_name(queue or settings.queue.name)
    broker = broker_meant(settings, url, at, marathon, say)
    was_paused = workers.resume(broker.url, name)
    say(f"{name!r} {'goes on' if was_paused else 'was not paused'}")
