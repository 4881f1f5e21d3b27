"""The workers that a run counts on: found, on this machine started with all that they need, and watched."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from cluster.apps.app import AppSpec, AppStatus, Image, Instance
from cluster.apps.component_apps import Work, worker_id
from cluster.apps.flags import AppOverrides
from cluster.components import QUEUE, WORKER, Component
from cluster.images import sources
from cluster.operations import replacing
from cluster.operations.build import build_and_push
from cluster.operations.deploy import LOCAL_START_S, Rollout, deploy_queue, deploy_workers
from cluster.operations.publish import queue_at
from cluster.operations.wanted_workers import (
    Wanted,
    action_of,
    local_action,
    options_for,
    options_of,
    runs_as_wanted,
)
from cluster.queue import counts
from cluster.schedulers import DeployOptions, Say, Scheduler, selection
from cluster.settings import Settings
from cluster.terminal import counted
from scripts.action.cgroup import cores
from scripts.amqp.broker import broker_errors, open_blocking, redacted
from scripts.amqp.management import QueueCount
from scripts.amqp.queues import checked_name, run_of, side_queues
from scripts.errors import ClusterError, ServiceAway

# What is in workers' hands the management API knows up to ten seconds late.
_COUNTED_S = 12.0
_LOOK_EVERY_S = 0.5
_LINES = 20


@dataclass(frozen=True)
class Workforce:
    """The workers of a queue at a broker, `url`, which work on so many items at once (`slots`, 0: not known).

    `trouble` returns nothing while one of them lives, or when that cannot be found out now, else a line on why none
    does; it takes some hundredths of a second, and may be called in another thread.
    """

    url: str
    slots: int
    trouble: Callable[[], str]


def workers_ready(settings: Settings, wanted: Wanted, *, at: str, marathon: str, url: str, say: Say) -> Workforce:
    """Return the workers of a queue, which run the action that is wanted; on this machine start what is missing.

    Raises:
        ClusterError: none run, and these are not ours to start; they run something else, and cannot be replaced now;
            the action cannot be started; or what is started does not come up.
    """
    name, action = checked_name(wanted.queue or settings.queue.name), wanted.action or settings.worker.action
    wanted = replace(wanted, queue=name, action=action)
    if url:
        return _of_others(url, wanted)
    choice = selection.chosen(settings, at, marathon)
    if not choice.is_here:
        return _on_cluster(settings, selection.connect(settings, choice, say), wanted, say)
    settings = replace(settings, scheduler=choice.name)
    if selection.SCHEDULERS[choice.name].load().has_images:
        engine = selection.provide(settings, say)
    else:
        engine = selection.connect(settings, choice, say)
    return _here(replace(settings, scheduler=engine.name), engine, wanted, say)


def _of_others(url: str, wanted: Wanted) -> Workforce:
    """Return what takes messages of the queue at a broker that somebody else runs."""
    if why := _nobody_takes(url, wanted):
        raise ClusterError(why)
    return Workforce(url, 0, partial(_when_known, partial(_nobody_takes, url, wanted)))


def _nobody_takes(url: str, wanted: Wanted) -> str:
    with broker_errors(url), open_blocking(url) as connection:
        if replacing.consumers(connection, wanted.queue):
            return ""
    command = shlex.join(["cluster_worker", "-u", redacted(url), "-q", wanted.queue, "--"])
    return (
        f"nobody takes messages of {wanted.queue!r} at {redacted(url)}: start workers there: {command} {wanted.action}"
    )


def _when_known(question: Callable[[], str]) -> str:
    try:
        return question()
    except ClusterError:
        return ""


def _on_cluster(settings: Settings, engine: Scheduler, wanted: Wanted, say: Say) -> Workforce:
    url = queue_at(settings, engine).url
    work = wanted.work(settings, wanted.action, wanted.jobs)
    app_id = worker_id(work, AppOverrides())
    present = engine.present(app_id) if any(map(_lives, _instances(engine, app_id))) else None
    if present is None:
        if not wanted.workers:
            raise ClusterError(
                f"no workers of {wanted.queue!r} run on {engine.place}: add --workers N, or start them with "
                f"{_deploy_line(engine, wanted)}"
            )
        deploy_workers(settings, Rollout(engine, say), work, overrides=AppOverrides(instances=wanted.workers))
        present = engine.present(app_id)
    elif not runs_as_wanted(present, wanted, work):
        raise ClusterError(
            f"the workers of {wanted.queue!r} on {engine.place} run {action_of(present)!r}, and not "
            f"{shlex.join(work.action)!r} as wanted: give that as --action, deploy other workers, or take another "
            f"queue with -q"
        )
    elif wanted.workers not in (0, present.instances):
        present = _scaled(engine, present, wanted.workers, say)
    return _workforce(engine, app_id, present, wanted, url)


def _deploy_line(engine: Scheduler, wanted: Wanted) -> str:
    flags = ["-q", wanted.queue, "--action", wanted.action, "--instances", "4"]
    return f"`./inv worker.deploy{engine.flag} {shlex.join(flags)}`"


def _here(settings: Settings, engine: Scheduler, wanted: Wanted, say: Say) -> Workforce:
    """Return workers of this machine; the engine, the queue, the images and they are brought about, a line each."""
    url = settings.queue.url
    rollout = Rollout(engine, _quiet, DeployOptions(timeout_s=LOCAL_START_S), is_watched=True, tries_first=True)
    _start_queue(settings, rollout, say)
    image = _current_image(settings, engine, say)
    action = wanted.action if engine.has_images else local_action(wanted.action, Path.cwd())
    work = wanted.work(settings, action, wanted.jobs if wanted.names_jobs or wanted.workers else cores())
    app_id = worker_id(work, AppOverrides())
    present = engine.present(app_id) if any(map(_lives, _instances(engine, app_id))) else None
    if present and runs_as_wanted(present, wanted, work):
        _renew(settings, rollout, present, image, wanted, work, say)
    else:
        if present:
            _refuse_busy(settings, wanted, present, say)
        _start_workers(settings, rollout, wanted, work, say)
    return _workforce(engine, app_id, engine.present(app_id), wanted, url)


def _quiet(_text: str) -> None:
    """Say nothing of the single steps: a line a thing is said here."""


def _start_queue(settings: Settings, rollout: Rollout, say: Say) -> None:
    try:
        open_blocking(settings.queue.url).close()
    except ServiceAway:
        engine = rollout.engine
        if engine.has_images and not _image(engine, settings.queue.tag):
            _build(settings, QUEUE, settings.queue.tag, say)
        say(f"starting the queue on {engine.place}")
        deploy_queue(settings, rollout)


def _image(engine: Scheduler, tag: str) -> Image | None:
    try:
        return engine.image(tag)
    except ClusterError:
        return None


def _build(settings: Settings, component: Component, tag: str, say: Say) -> None:
    say(f"building the image {tag}")
    build_and_push(settings, component, tag, push=False, say=say)


def _current_image(settings: Settings, engine: Scheduler, say: Say) -> Image:
    """Return the workers' image with the actions as they are now, built where it is missing or has others."""
    tag = settings.worker.tag
    if engine.has_images:
        found = _image(engine, tag)
        if not found or found.sources != sources.digest(WORKER):
            _build(settings, WORKER, tag, say)
    return engine.image(tag)


def _start_workers(settings: Settings, rollout: Rollout, wanted: Wanted, work: Work, say: Say) -> None:
    count, jobs = wanted.workers or 1, options_for(work).jobs
    say(
        f"starting {count} {'worker' if count == 1 else 'workers'} of {wanted.queue!r} on {rollout.engine.place}, "
        f"{jobs} at once{'' if count == 1 else ' each'}: {shlex.join(work.action)}"
    )
    # As much memory as so many workers with one action each would have.
    mem_mib = settings.worker.mem_mib * max(1, jobs // max(1, settings.worker.jobs))
    deploy_workers(settings, rollout, work, overrides=AppOverrides(instances=count, mem_mib=mem_mib))


def _renew(
    settings: Settings, rollout: Rollout, present: AppSpec, image: Image, wanted: Wanted, work: Work, say: Say
) -> None:
    """Bring what runs to the present image, and to as many as are wanted; else leave it in peace."""
    engine, instances = rollout.engine, wanted.workers or present.instances
    change = engine.plan(replace(present, image=image.name if present.image else "", instances=instances))
    if change.kind == "nothing":
        return
    if change.kind == "replace":
        _refuse_busy(settings, wanted, present, say)
    say(f"starting the workers of {wanted.queue!r} anew, with the actions as they are now" if change.kind == "replace"
        else f"running {instances} instead of {present.instances} workers of {wanted.queue!r}")  # fmt: skip
    rollout.make(change, present, partial(replacing.check_action, engine, change.app, work, say))


def _scaled(engine: Scheduler, present: AppSpec, instances: int, say: Say) -> AppSpec:
    say(f"running {instances} instead of {present.instances} of {present.id} on {engine.place}")
    change = engine.plan(replace(present, instances=instances))
    engine.apply(change)
    return change.app


def _refuse_busy(settings: Settings, wanted: Wanted, present: AppSpec, say: Say) -> None:
    """Refuse to replace workers while something of another run, or of others, is left for them to do."""
    deadline, is_said = time.monotonic() + _COUNTED_S, False
    while why := busy_with(wanted.queue, _counts(settings, wanted.queue)):
        if why != _IN_HAND or time.monotonic() > deadline:
            raise ClusterError(
                f"the workers of {wanted.queue!r} run {action_of(present)!r}, and {why}: wait for them, or take "
                "another queue with -q"
            )
        if not is_said:
            say(f"waiting for the workers of {wanted.queue!r}, which run {action_of(present)!r}")
        is_said = True
        time.sleep(_LOOK_EVERY_S)


def _counts(settings: Settings, queue: str) -> list[QueueCount]:
    ours = {queue, *side_queues(queue)}
    of = lambda name: name in ours or (run_of(name) or ("",))[0] == queue  # noqa: E731
    return counts.now(settings.queue.management, settings.queue.url, of)


_IN_HAND = "have messages in hand"


def busy_with(queue: str, found: list[QueueCount]) -> str:
    """Say what is left for the workers of a queue to do; empty where nothing is."""
    for one in found:
        run = run_of(one.name)
        if run and run[0] == queue and (one.ready or one.consumers):
            return (
                f"the results of run {run[1]} wait for the command that began it (./inv map.cancel --run {run[1]} "
                "deletes them)"
            )
    own = [one for one in found if not run_of(one.name)]
    if waiting := sum(one.ready or 0 for one in own):
        return f"have {counted(waiting, 'message')} to do"
    return _IN_HAND if any(one.unacknowledged for one in own) else ""


def _workforce(engine: Scheduler, app_id: str, app: AppSpec | None, wanted: Wanted, url: str) -> Workforce:
    options = options_of(app) if app else None
    # `-j 0` is one a core of machines that are not known here.
    is_known = bool(app and options and (engine.is_here or not re.search(r" -j ?0(?= )", app.command)))
    slots = app.instances * options.jobs if app and options and is_known else 0
    return Workforce(url, slots, partial(_when_known, partial(_trouble, engine, app_id, wanted.queue)))


def _instances(engine: Scheduler, app_id: str) -> tuple[Instance, ...]:
    found: AppStatus | None = next((app for app in engine.status() if app.id == app_id), None)
    return found.instances if found else ()


def _lives(instance: Instance) -> bool:
    """Return False for one that has ended, also where its engine is about to start it again."""
    return instance.state != "stopped" and "ended with exit code" not in instance.detail


def _trouble(engine: Scheduler, app_id: str, queue: str) -> str:
    found = _instances(engine, app_id)
    if any(map(_lives, found)):
        return ""
    how = next((f": {one.name} {one.detail}" for one in found if one.detail), "")
    last = ""
    with suppress(ClusterError):
        lines = [line.partition(": ")[2].strip() for line in engine.logs(app_id, _LINES)]
        last = next((f", its last words: {line}" for line in reversed(lines) if line), "")
    again = "this command again starts new ones" if engine.is_here else "mend what it says, and deploy them anew"
    return f"no worker of {queue!r} runs on {engine.place} any more{how}{last}; {again}"
