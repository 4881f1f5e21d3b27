"""The workers that a run counts on: found, on this machine started with all that they need, and watched."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from cluster.apps.app import TAG, AppSpec, AppStatus, Image, Instance
from cluster.apps.component_apps import Work, options_of, worker_id
from cluster.apps.flags import AppOverrides
from cluster.components import QUEUE
from cluster.operations import replacing
from cluster.operations.brokers import own_address, queue_at
from cluster.operations.deploy import LOCAL_START_S, Rollout, deploy_workers, patient
from cluster.operations.freshness import older_apps, tell_older
from cluster.operations.here import current_image, engine_here, image_of, start_queue
from cluster.operations.wanted_workers import (
    Wanted,
    action_of,
    as_from_here,
    differing,
    ending_when_idle,
    finds_queue_of,
    idle_workers,
    is_earlier,
    is_file,
    options_for,
    runs_as_wanted,
)
from cluster.queue import counts, workers
from cluster.queue.login import QueueAddress
from cluster.queue.runs.ending import take_off_unwanted
from cluster.queue.runs.shell_words import in_one
from cluster.schedulers import DeployOptions, Say, Scheduler, selection
from cluster.settings import Settings
from cluster.terminal import counted
from scripts.action.cgroup import cores
from scripts.amqp.broker import broker_errors, identity, open_blocking, redacted
from scripts.amqp.management import QueueCount
from scripts.amqp.queues import checked_name, run_of, side_queues
from scripts.amqp.workers import Report
from scripts.app_id import canonical_app_id
from scripts.errors import ClusterError

# What is in workers' hands the management API knows up to ten seconds late.
_COUNTED_S = 12.0
_LOOK_EVERY_S = 0.5
_LINES = 20

# Of jobs none may be there for so long, while new ones take the place of others.
_BETWEEN_S = 30.0

# How long workers have to say how they are, where nobody knows how many there are.
_ANSWER_S = 0.5


@dataclass(frozen=True)
class Workforce:
    """The workers of a queue at a broker, `url`, which work on so many items at once (`slots`, 0: not known).

    `flag` means that broker in a command line that is suggested, with a blank before (empty: it is this machine's).
    `trouble` returns nothing while one of them lives, or when that cannot be found out now, else a line on why none
    does; where that lasts for `ends_after_s`, none comes by itself (None: one may). `waiting` returns a line while all
    that live wait for their engine to have room, else nothing. They take some hundredths of a second, and may be called
    in another thread.
    """

    url: str
    slots: int
    trouble: Callable[[], str]
    flag: str = ""
    waiting: Callable[[], str] = lambda: ""
    ends_after_s: float | None = None


@dataclass(frozen=True)
class GoingOn:
    """A run that goes on, by its id; `publish_again` is called before what waits of it is taken off the queue."""

    run: str = ""
    publish_again: Callable[[], None] = lambda: None


def workers_ready(
    settings: Settings, wanted: Wanted, *, at: str, marathon: str, url: str, say: Say, going_on: GoingOn = GoingOn()
) -> Workforce:  # fmt: skip
    """Return the workers of a queue, which run the action that is wanted; on this machine start what is missing.

    Those that rest, since all failed there, are started anew: that may have been mended. What is left of a run that
    goes on with them hinders no change of them.

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
        return _on_cluster(settings, selection.connect(settings, choice, say), wanted, going_on, say)
    settings, engine = engine_here(settings, choice, say)
    return _here(settings, engine, wanted, going_on, say)


def _of_others(url: str, wanted: Wanted) -> Workforce:
    """Return what takes messages of the queue at a broker that somebody else runs."""
    if why := _nobody_takes(url, wanted):
        raise ClusterError(why)
    trouble = partial(_when_known, partial(_nobody_takes, url, wanted))
    return Workforce(url, 0, trouble, f" -u {shlex.quote(redacted(url))}")


def _nobody_takes(url: str, wanted: Wanted) -> str:
    with broker_errors(url), open_blocking(url) as connection:
        if replacing.consumers(connection, wanted.queue):
            return ""
    found = said_by_workers(url, wanted.queue)
    if any(one.state == "paused" for one in found):
        return ""
    if resting := resting_words(found):
        return f"the workers of {wanted.queue!r} at {redacted(url)} rest, {resting[0]}: mend that, and start them anew"
    command = shlex.join(["cluster_worker", "-u", redacted(url), "-q", wanted.queue, "--"])
    return (
        f"nobody takes messages of {wanted.queue!r} at {redacted(url)}: start workers there: {command} {wanted.action}"
    )


def _when_known(question: Callable[[], str]) -> str:
    try:
        return question()
    except ClusterError:
        return ""


def _on_cluster(settings: Settings, engine: Scheduler, wanted: Wanted, going_on: GoingOn, say: Say) -> Workforce:
    """Return the workers of a queue on a cluster, under whatever ids; only --workers starts, scales or renews them."""
    there = queue_at(settings, engine)
    url = there.url
    work = as_from_here(wanted.work(settings, wanted.action, wanted.jobs), engine)
    apps, ended = _apps_of(settings, engine, wanted.queue)
    if wanted.workers and len(apps) == 1 and _has_earlier(apps[0], work):
        _make_free(there, wanted, apps[0], going_on, say)
        apps = [_renewed(engine, apps[0], wanted, work, say)]
    for app in apps:
        _refuse_other(engine, app, wanted, work)
        _tell_older(engine, app, say)
    if not apps:
        apps = [_deployed(settings, engine, wanted, work, url, ended, say)]
    elif not any(_is_up(engine, app) for app in apps):
        raise ClusterError(_none_takes(engine, [app.id for app in apps], wanted.queue))
    elif wanted.workers and wanted.workers != _how_many(engine, apps):
        apps = [_scaled(settings, engine, apps, wanted.workers, say)]
    for app in apps:
        _wake(engine, app, url, wanted.queue, say)
    slots, ids = [_slots(engine, app) for app in apps], [app.id for app in apps]
    trouble = partial(_trouble_there, settings, engine, ids, wanted.queue)
    waiting = partial(_waiting_there, settings, engine, ids, wanted.queue)
    return Workforce(
        url, sum(slots) if all(slots) else 0, partial(_when_known, trouble), engine.flag, partial(_when_known, waiting),
        _BETWEEN_S if engine.is_batch else None,
    )  # fmt: skip


_UP = ("running", "unhealthy")


def _is_up(engine: Scheduler, app: AppSpec) -> bool:
    """Return True where instances of an app run, or will when it is their turn, or when there is work."""
    found = _instances(engine, app.id)
    return _may_come(engine, app, found) or any(one.state in _UP for one in found)


def _may_come(engine: Scheduler, app: AppSpec, found: Iterable[Instance]) -> bool:
    return engine.is_batch and (bool(app.max_instances) or any(one.state != "stopped" for one in found))


def _how_many(engine: Scheduler, apps: Iterable[AppSpec]) -> int:
    """Return how many instances of apps are there, or are wanted where their engine sees to it that these are there."""
    if not engine.is_batch:
        return sum(app.instances for app in apps)
    return sum(one.state != "stopped" for app in apps for one in _instances(engine, app.id))


def _apps_of(settings: Settings, engine: Scheduler, queue: str) -> tuple[list[AppSpec], list[AppSpec]]:
    """Return the apps of this project that take messages of a queue of the cluster's broker, and those that did.

    Of the latter all instances have come to their end.
    """
    there = own_address(settings, engine).url
    found = [app for status in engine.status() if (app := engine.present(status.id))]
    wanted = [app for app in found if (app.instances or app.max_instances) and _takes(engine, app, queue, there)]
    ended = [app for app in wanted if engine.is_batch and not _is_up(engine, app)]
    return [app for app in wanted if app not in ended], ended


def _takes(engine: Scheduler, app: AppSpec, queue: str, url: str) -> bool:
    if (options := options_of(app)) is None:
        return app.env.get("QUEUE_NAME") == queue
    if options.marathon:
        return options.queue == queue and canonical_app_id(options.app or "") == QUEUE.app_id
    if is_file(options.url):
        return options.queue == queue and finds_queue_of(engine, options)
    return options.queue == queue and identity(options.url or "") == identity(url)


def _refuse_other(engine: Scheduler, app: AppSpec, wanted: Wanted, work: Work) -> None:
    """Refuse workers that run another action, or in another way than is asked for; name what it is."""
    found, who = options_of(app), f"the workers of {wanted.queue!r} on {engine.place} ({app.id})"
    if found and _has_earlier(app, work):
        flags = shlex.join(wanted.flags())
        raise ClusterError(
            f"{who} run {shlex.quote(in_one(found.command))}, which has changed here since: add --workers N, or bring "
            f"it to them with ./inv worker.deploy{engine.flag} {flags}, or take another queue with -q"
        )
    if found is None or found.command != work.action:
        theirs = shlex.quote(in_one(found.command) if found else app.command)
        raise ClusterError(
            f"{who} run {theirs}, and not {shlex.quote(in_one(work.action))}: give theirs as --action, deploy others "
            "in their place, or take another queue with -q"
        )
    if others := differing(found, wanted, work):
        raise ClusterError(
            f"{who} run {shlex.quote(in_one(found.command))} {', '.join(others)}, and not as is asked for: leave that "
            "out, deploy others in their place, or take another queue with -q"
        )


def _has_earlier(app: AppSpec, work: Work) -> bool:
    """Return True where workers run a file of this machine as it was at their deploy, which has changed since."""
    found = options_of(app)
    return found is not None and found.command != work.action and is_earlier(found.command, work.action)


def _renewed(engine: Scheduler, present: AppSpec, wanted: Wanted, work: Work, say: Say) -> AppSpec:
    """Start workers anew with the file that their action is now, and with all else that they were given."""
    options, command = options_of(present), present.command
    for old, new in zip(options.command if options else (), work.action, strict=False):
        command = command.replace(shlex.quote(old), shlex.quote(new))
    say(f"starting the workers of {wanted.queue!r} anew, with {shlex.quote(in_one(work.action))} as it is now")
    change = engine.plan(replace(present, command=command, instances=wanted.workers))
    check = partial(replacing.check_action, engine, change.app, work, say)
    Rollout(engine, say, DeployOptions(undo=True)).make(change, present, check)
    return change.app


def _tell_older(engine: Scheduler, app: AppSpec, say: Say) -> None:
    """Say so where workers run an earlier program, or another image than their tag means now, than there is here."""
    if not engine.has_images:
        if any(older_apps([(engine, one)])[0] for one in engine.status() if one.id == app.id):
            say(
                f"the workers of {app.id} run older actions than there are now: worker.deploy{engine.flag} brings these"
            )
        return
    tag = app.labels.get(TAG, "")
    if not (tag and app.image and (image := image_of(engine, tag))):
        return
    tell_older(image, say)
    if image.name != app.image:
        say(f"the workers of {app.id} run an earlier image {tag}: deploy them anew to bring the present one to them")


def _deployed(
    settings: Settings, engine: Scheduler, wanted: Wanted, work: Work, url: str, ended: Sequence[AppSpec], say: Say
) -> AppSpec:  # fmt: skip
    """Start workers where none are, or all have `ended`, if that is asked for; what does not come up is taken away."""
    app_id = worker_id(work, AppOverrides())
    with broker_errors(url), open_blocking(url) as connection:
        others = replacing.consumers(connection, wanted.queue)
    if others:
        raise ClusterError(
            f"{counted(others, 'worker')} of {wanted.queue!r} that {settings.project!r} has not deployed on "
            f'{engine.place} {"takes" if others == 1 else "take"} messages: -u "$(./inv queue.url{engine.flag})" in '
            f"place of{engine.flag} uses what is there, whatever it runs; or take another queue with -q"
        )
    if not wanted.workers:
        flags = shlex.join([*wanted.flags(), "--instances", "4"])
        raise ClusterError(
            f"no workers of {wanted.queue!r} run on {engine.place}: add --workers N, or start them: "
            f"./inv worker.deploy{engine.flag} {flags}"
        )
    present = engine.present(app_id)
    if present and present in ended and runs_as_wanted(present, wanted, work):
        return _begun_again(settings, engine, present, wanted.workers, say)
    if present and present.instances and present not in ended:
        raise ClusterError(
            f"{app_id} on {engine.place} does something else: {present.command}: stop that, or take another queue "
            "with -q"
        )
    work = ending_when_idle(work) if engine.is_batch else work
    rollout = Rollout(engine, say, DeployOptions(undo=True), tries_first=True)
    deploy_workers(settings, rollout, work, overrides=AppOverrides(instances=wanted.workers))
    if not (app := engine.present(app_id)):
        raise ClusterError(f"{app_id} on {engine.place} was stopped meanwhile")
    return app


def _begun_again(settings: Settings, engine: Scheduler, ended: AppSpec, instances: int, say: Say) -> AppSpec:
    """Start workers that have all ended as they were, with what they were given, and the files as they are now."""
    image = engine.image(ended.labels.get(TAG) or settings.worker.tag)
    say(f"starting {instances} of {ended.id} on {engine.place} again, which have all ended")
    change = engine.plan(replace(ended, instances=instances, image=image.name))
    Rollout(engine, say).make(change, ended)
    return change.app


def _scaled(settings: Settings, engine: Scheduler, apps: list[AppSpec], instances: int, say: Say) -> AppSpec:
    if len(apps) > 1:
        raise ClusterError(
            f"--workers {instances}: {', '.join(app.id for app in apps)} take messages of this queue: "
            f"./inv worker.scale{engine.flag} --app ID --instances N scales one of them"
        )
    (present,) = apps
    if present.max_instances:
        say(f"--workers {instances}: {present.id} runs {present.number}, as its queue needs them, which stays")
        return present
    say(f"running {instances} instead of {_how_many(engine, apps)} of {present.id} on {engine.place}")
    options = DeployOptions(undo=True, idle=partial(idle_workers, settings, engine, present.id))
    change = engine.plan(replace(present, instances=instances))
    Rollout(engine, say, options).make(change, present)
    return change.app


def _trouble_there(settings: Settings, engine: Scheduler, app_ids: list[str], queue: str) -> str:
    """Say why nobody takes messages: a worker that cannot start its action is there ever again, and takes none.

    Where instances wait for their turn nothing is said as long as one of them may come to take some.
    """
    if _consumers(settings, engine, queue):
        return ""
    if engine.is_batch and any(
        _may_come(engine, app.spec, app.instances) for app in engine.status() if app.id in app_ids
    ):
        return ""
    return _none_takes(engine, app_ids, queue)


def _waiting_there(settings: Settings, engine: Scheduler, app_ids: list[str], queue: str) -> str:
    """Say how many workers wait for room, and why, while nobody takes messages."""
    if _consumers(settings, engine, queue):
        return ""
    shortages = [app.shortage for app in engine.status() if app.id in app_ids]
    return f"no worker of {queue!r} runs yet on {engine.place}: {', '.join(shortages)}" if any(shortages) else ""


def _consumers(settings: Settings, engine: Scheduler, queue: str) -> int:
    url = queue_at(settings, engine).url
    with broker_errors(url), open_blocking(url) as connection:
        return replacing.consumers(connection, queue)


def _none_takes(engine: Scheduler, app_ids: list[str], queue: str) -> str:
    found = [one for app_id in app_ids for one in _instances(engine, app_id)]
    how, last = _last_of(engine, app_ids[0], found)
    flags = f"{engine.flag} -q {shlex.quote(queue)}"
    if engine.is_batch:
        again = "this again with --workers N starts some"
        return f"no worker of {queue!r} runs on {engine.place}{how}{last}; {again}"
    return (
        f"no worker of {queue!r} on {engine.place} takes messages{how}{last}; ./inv status{engine.flag} shows when one "
        f"does, ./inv worker.stop{flags} ends what cannot"
    )


def _here(settings: Settings, engine: Scheduler, wanted: Wanted, going_on: GoingOn, say: Say) -> Workforce:
    """Return workers of this machine; the engine, the queue, the images and they are brought about, a line each."""
    url = settings.queue.url
    rollout = Rollout(engine, _quiet, DeployOptions(timeout_s=LOCAL_START_S), is_watched=True, tries_first=True)
    start_queue(settings, rollout, say)
    image = current_image(settings, engine, say)
    work = wanted.work(settings, wanted.action, wanted.jobs if wanted.names_jobs or wanted.workers else cores())
    work = as_from_here(work, engine)
    app_id = worker_id(work, AppOverrides())
    present = engine.present(app_id) if any(map(_lives, _instances(engine, app_id))) else None
    make_free = partial(_make_free, queue_at(settings, engine), wanted, present, going_on, say)
    if present and runs_as_wanted(present, wanted, work):
        _renew(settings, rollout, present, image, wanted, work, make_free, going_on, say)
    else:
        make_free()
        if present:
            number = counted(present.instances, "worker")
            runs = "runs" if present.instances == 1 else "run"
            say(f"replacing {number} of {wanted.queue!r}, which {runs} {action_of(present)}")
        _start_workers(settings, rollout, wanted, work, say)
    return _workforce(engine, app_id, engine.present(app_id), wanted, url)


def _quiet(_text: str) -> None:
    """Say nothing of the single steps: a line a thing is said here."""


def _start_workers(settings: Settings, rollout: Rollout, wanted: Wanted, work: Work, say: Say) -> None:
    options = options_for(work)
    count, jobs = wanted.workers or 1, options.jobs
    say(
        f"starting {count} {'worker' if count == 1 else 'workers'} of {wanted.queue!r} on {rollout.engine.place}, "
        f"{jobs} at once{'' if count == 1 else ' each'}: {shlex.join(work.action)}"
        + (f", which has {options.ready_timeout_s:g} s to get ready" if options.keep_alive else "")
    )
    # As much memory as so many workers with one action each would have; plain processes have no limit.
    mem_mib = 0
    if rollout.engine.limits_resources:
        mem_mib = settings.worker.mem_mib * max(1, jobs // max(1, settings.worker.jobs))
    deploy_workers(settings, rollout, work, overrides=AppOverrides(instances=count, mem_mib=mem_mib))


def _renew(
    settings: Settings, rollout: Rollout, present: AppSpec, image: Image, wanted: Wanted, work: Work,
    make_free: Callable[[], None], going_on: GoingOn, say: Say,
) -> None:  # fmt: skip
    """Bring what runs to the present image, and to as many as are wanted; else leave it in peace, unless it rests."""
    engine, instances, rollout = rollout.engine, wanted.workers or present.instances, patient(rollout, work)
    change = engine.plan(replace(present, image=image.name if present.image else "", instances=instances))
    if change.kind == "replace":
        make_free()
        earlier = "; what has a result keeps it (--restart makes all anew)" if going_on.run else ""
        say(f"starting the workers of {wanted.queue!r} anew, with the actions as they are now{earlier}")
        rollout.make(change, present, partial(replacing.check_action, engine, change.app, work, say))
        return
    if change.kind != "nothing":
        say(f"running {instances} instead of {present.instances} workers of {wanted.queue!r}")
        rollout.make(change, present)
    _wake(engine, change.app, settings.queue.url, wanted.queue, say)


def said_by_workers(url: str, queue: str, count: int = 0) -> list[Report]:
    """Return what the workers of a queue say of themselves, at once where there are `count`; nothing without answer."""
    try:
        return workers.ask(url, [queue], lambda found: 0 < count <= len(found), _ANSWER_S)
    except ClusterError:
        return []


def resting_words(found: Sequence[Report]) -> list[str]:
    """Return a line for each worker that takes one message now and then."""
    return [f"{one.host}: {one.reason}" for one in found if one.state == "resting"]


def _wake(engine: Scheduler, app: AppSpec, url: str, queue: str, say: Say) -> None:
    """Start workers anew where all of them rest: what failed may be mended, and their pauses are long."""
    count = len([one for one in _instances(engine, app.id) if _lives(one) and one.state != "waiting"])
    resting = resting_words(said_by_workers(url, queue, count))
    if resting and len(resting) >= count:
        say(f"starting the workers of {queue!r} anew, which rest; {resting[0]}")
        engine.apply(engine.plan(app, restart=True))


def _make_free(there: QueueAddress, wanted: Wanted, present: AppSpec | None, going_on: GoingOn, say: Say) -> None:
    """See that workers, if any, can be replaced: nothing of others is left for them, and what waits of the run goes.

    What they have in hand of the run they finish, and its results are collected.

    Raises:
        ClusterError: something of others is left.
    """
    deadline, is_said = time.monotonic() + _COUNTED_S, False
    while present and (why := busy_with(wanted.queue, _counts(there, wanted.queue), going_on.run)):
        if _TO_DO in why and _taken_off(there, wanted.queue, going_on):
            continue
        if why != _IN_HAND or time.monotonic() > deadline:
            raise ClusterError(
                f"the workers of {wanted.queue!r} run {action_of(present)!r}, and {why}, or take another queue with -q"
            )
        if not is_said:
            say(f"waiting for the workers of {wanted.queue!r}, which run {action_of(present)!r}")
        is_said = True
        time.sleep(_LOOK_EVERY_S)


def _taken_off(there: QueueAddress, queue: str, going_on: GoingOn) -> int:
    """Take off what is of no run any more, or of the one that goes on; return how many messages."""
    going_on.publish_again()
    with broker_errors(there.url), open_blocking(there.url) as connection:
        return take_off_unwanted(connection, queue, going_on.run)


def _counts(there: QueueAddress, queue: str) -> list[QueueCount]:
    ours = {queue, *side_queues(queue)}
    of = lambda name: name in ours or (run_of(name) or ("",))[0] == queue  # noqa: E731
    return counts.now(there.management, there.url, of)


_IN_HAND = "have messages in hand: wait for them"
_TO_DO = "to do: wait until that is done"


def busy_with(queue: str, found: list[QueueCount], run: str = "") -> str:
    """Say what is left for the workers of a queue to do, and how that ends; empty where nothing is but of this run."""
    others = [(of[1], one) for one in found if (of := run_of(one.name)) and of[0] == queue and of[1] != run]
    for other, one in others:
        if one.consumers:
            return f"run {other} is under way: wait for it"
        if one.ready:
            return f"the results of run {other} are not collected yet: {_end_of(other)}"
    own = [one for one in found if not run_of(one.name)]
    if waiting := sum(one.ready or 0 for one in own):
        known = f"; where they are of run {others[0][0]}, {_end_of(others[0][0])}" if others else ""
        return f"have {counted(waiting, 'message')} {_TO_DO}{known}"
    return _IN_HAND if not run and any(one.unacknowledged for one in own) else ""


def _end_of(run: str) -> str:
    return f"the command that began it goes on, ./inv map.cancel --run {run} ends it"


def _workforce(engine: Scheduler, app_id: str, app: AppSpec | None, wanted: Wanted, url: str) -> Workforce:
    slots = _slots(engine, app) if app else 0
    return Workforce(url, slots, partial(_when_known, partial(_trouble, engine, app_id, wanted.queue)), ends_after_s=0)


def _slots(engine: Scheduler, app: AppSpec) -> int:
    """Return how many items workers run at once; 0 where that is not known."""
    options = options_of(app)
    # `-j 0` is one a core of machines that are not known here.
    is_known = options and (engine.is_here or not re.search(r" -j ?0(?= )", app.command))
    return (app.max_instances or app.instances) * options.jobs if options and is_known else 0


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
    how, last = _last_of(engine, app_id, found)
    return f"no worker of {queue!r} runs on {engine.place} any more{how}{last}; this command again starts new ones"


def _last_of(engine: Scheduler, app_id: str, instances: Iterable[Instance]) -> tuple[str, str]:
    """Return what is known of instances that do not work, and the last that one of them printed."""
    how = next((f": {one.name} {one.detail}" for one in instances if one.detail), "")
    with suppress(ClusterError):
        lines = [line.partition(": ")[2].strip() for line in engine.logs(app_id, _LINES)]
        return how, next((f", its last words: {line}" for line in reversed(lines) if line), "")
    return how, ""
