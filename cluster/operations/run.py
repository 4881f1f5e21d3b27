"""Starting and stopping the components on this machine."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from cluster.apps import one_machine as apps
from cluster.apps.one_machine import Work
from cluster.image_ref import ImageRef
from cluster.interrupts import Interrupted
from cluster.operations import replacing
from cluster.operations.replacing import Waiting
from cluster.queue import counts as queue_counts
from cluster.queue import delivery_limits
from cluster.schedulers import App, AppStatus, Scheduler, selection
from cluster.schedulers.one_machine import OneMachine
from cluster.settings import Settings
from scripts.amqp.broker import open_blocking, redacted
from scripts.errors import ClusterError

Say = Callable[[str], None]

# R and Erlang start in seconds; a cold disk and a busy machine take longer.
START_TIMEOUT_S = 120


def run_queue(
    settings: Settings, tag: str, *, dry_run: bool, say: Say, where: OneMachine[Any] | None = None
) -> list[str]:
    """Run the queue here and return when it answers; the names of what runs."""
    where = where or selection.scheduler(settings)
    app = apps.queue_app(settings, image_of(settings, tag, where), tag)
    status = _deploy(where, app, dry_run, say)
    if status is None:
        return []
    open_blocking(settings.queue.url).close()
    _give_delivery_limits(settings, say)
    say(
        f"the queue answers at {settings.queue.url} (guest); "
        f"its web page is http://127.0.0.1:{settings.queue.management_port} (guest, guest)"
    )
    _tell_of_restarts(where, say)
    return [instance.name for instance in status.instances]


def _give_delivery_limits(settings: Settings, say: Say) -> None:
    """To queues of an earlier version; the queue works without."""
    try:
        for line in delivery_limits.give(settings.queue.management):
            say(line)
    except ClusterError as error:
        say(f"queues of an earlier version, if there are any, have no delivery limit: {error}")


def run_workers(
    settings: Settings, work: Work, tag: str, *, dry_run: bool, say: Say, where: OneMachine[Any] | None = None
) -> list[str]:
    """Run workers here and return when they take messages; the names of what runs."""
    where = where or selection.scheduler(settings)
    if not dry_run:
        open_blocking(work.url).close()
    work = replace(work, user=container_user(where), in_container=where.name != "process")
    app = apps.worker_app(settings, work, image_of(settings, tag, where), tag)
    waiting = replacing.Waiting(work.url, work.queue)
    status = _deploy(where, app, dry_run, say, lambda: replacing.check_action(where, app, work), waiting)
    if status is None:
        return []
    say(f"workers taking messages of {work.queue!r} from {redacted(work.url)}: {status.running}")
    _tell_of_restarts(where, say)
    return [instance.name for instance in status.instances]


def _tell_of_restarts(where: Scheduler, say: Say) -> None:
    if where.name == "process":
        say("plain processes do not come back when this machine starts anew: run this again then")


def image_of(settings: Settings, tag: str, where: Scheduler) -> str:
    """What {{IMAGE}} stands for: the image by digest where a registry holds it."""
    ref = ImageRef.parse(tag, settings.images)
    if where.name == "process":
        return str(ref)
    from cluster import engine
    from cluster.images import build as image_build

    return image_build.deployable(engine.connect(), ref)


def container_user(where: Scheduler) -> str:
    """Who workers in containers run as: the person who starts them; root leaves it to the image's plain user.

    In a rootless engine the container's root is that person.
    """
    if where.name != "local":
        return ""
    from cluster import engine

    if engine.is_rootless(engine.connect()):
        return "0:0"
    return f"{os.getuid()}:{os.getgid()}" if os.getuid() else ""


def logs(settings: Settings, app_id: str, tail: int, follow: bool) -> Iterator[str]:
    """The last lines of every instance of an app of this machine."""
    return selection.running(settings, app_id).logs(app_id, tail, follow)


def stop(settings: Settings, app_id: str, now: bool, say: Say) -> None:
    """Stop an app of this machine.

    Raises:
        ClusterError: it does not run here.
    """
    where = selection.running(settings, app_id)
    if not now:
        say(f"stopping {app_id}; running actions may finish (--now does not wait: their messages return to the queue)")
    try:
        where.stop(app_id, now)
    except KeyboardInterrupt as interrupt:
        what = f"interrupted: {app_id} ends by itself when its actions have, and is not started again"
        raise Interrupted(f"{what}; a second stop waits for nothing") from interrupt


def down(settings: Settings, *, data: bool, now: bool, say: Say) -> None:
    """Stop all apps of this project on this machine, workers first; with `data` delete their volumes too."""
    for where in selection.every_scheduler(settings):
        ids = sorted((app.id for app in where.status()), key=_workers_first)
        for app_id in ids:
            if data and app_id == "/amqp":
                say(_messages_lost(settings))
            say(f"stopping {app_id} ({where.name})")
            where.stop(app_id, now)
        for name in where.delete_data("") if data else ():
            say(f"deleted {name}")


def _deploy(
    where: OneMachine[Any],
    app: App,
    dry_run: bool,
    say: Say,
    check: Callable[[], None] = lambda: None,
    waiting: Waiting | None = None,
) -> AppStatus | None:
    """Deploy it; `check` is called before anything that runs is replaced.

    A replacement that fails is undone, also one under which the first messages of a queue in which some wait all fail.
    """
    change = where.plan(app)
    if dry_run:
        if change.kind == "nothing":
            say(f"{app.id} runs like this ({where.name}): nothing would change")
        print(json.dumps(change.sent, indent=2))
        return None
    if change.kind != "replace":
        if change.kind != "nothing":
            say(f"starting {app.id} ({where.name})")
        return where.deploy(app, START_TIMEOUT_S)
    check()
    say(f"replacing {app.id} ({where.name})")
    with replacing.undone_on_failure(where, app.id, say):
        waited = waiting.count() if waiting else 0
        status = where.deploy(app, START_TIMEOUT_S)
        if waiting:
            replacing.watch(where, app.id, waiting, waited)
    return status


def _workers_first(app_id: str) -> tuple[int, str]:
    return (1 if app_id == "/amqp" else 2 if app_id == "/registry" else 0, app_id)


def _messages_lost(settings: Settings) -> str:
    try:
        found = queue_counts.at_rest(queue_counts.now(settings.queue.management, settings.queue.url))
    except ClusterError:
        return "deleting the queues with their messages; how many is not known, since the queue does not answer"
    counts = [(queue.name, queue.messages) for queue in found if queue.messages]
    total = sum(count for _, count in counts)
    names = ", ".join(f"{name} {count:,}" for name, count in counts)
    unknown = ", ".join(queue.name for queue in found if queue.messages is None)
    if unknown:
        return f"deleting {total:,} messages{f' ({names})' if names else ''} and those in {unknown}, not counted yet"
    return f"deleting {total:,} messages ({names})" if total else "no messages are in the queues"
