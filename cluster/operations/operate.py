"""Changes of apps, the same on every engine: shown to a person, made, and undone where they fail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice

from cluster.apps import definitions
from cluster.apps.app import AppSpec, AppStatus, Change
from cluster.components import QUEUE
from cluster.interrupts import Interrupted
from cluster.operations.wanted_workers import idle_workers
from cluster.schedulers import ChangeFailed, DeployOptions, NotRunning, Say, Scheduler, selection
from cluster.settings import Settings
from scripts.app_id import canonical_app_id
from scripts.errors import ClusterError

_SHOWN = 10  # versions, as many as a screen shows
_NAMED = 5  # versions that an error names


@dataclass(frozen=True)
class Target:
    """An app, the engine that runs it, and how changes are made there."""

    app_id: str
    engine: Scheduler
    options: DeployOptions = DeployOptions()


def target(
    settings: Settings, app_id: str, at: str, marathon: str, say: Say, options: DeployOptions = DeployOptions()
) -> Target:  # fmt: skip
    """Return the app that flags mean, on the engine that they mean, else on that of this machine which runs it."""
    app_id = canonical_app_id(app_id)
    engine = selection.running(selection.candidates(settings, at, marathon, say), app_id)
    return Target(app_id, engine, replace(options, idle=partial(idle_workers, settings, engine, app_id)))


def workers_id(settings: Settings, queue: str, app: str) -> str:
    """Return the id of the workers that flags mean: --app, else that of the queue's workers."""
    return app or definitions.worker_id(queue or settings.queue.name)


def scale(of: Target, instances: int, say: Say, most: int = 0) -> AppStatus:
    """Run so many instances, or as many as the queue needs from so many up to `most`.

    A negative number, and with 0 the most, stay as they are.

    Raises:
        ClusterError: no such app, or a number that its engine does not run.
    """
    found = _existing(of)
    app = replace(
        found, instances=instances if instances >= 0 else found.instances, max_instances=most or found.max_instances
    )
    app.refuse_wrong_number()
    return _make(of, of.engine.plan(app, of.options), "", say)


def restart(of: Target, say: Say) -> AppStatus:
    """Start every instance anew, after its running actions."""
    return _make(of, of.engine.plan(_existing(of), of.options, restart=True), "started anew, ", say)


def rollback(of: Target, to: str, say: Say) -> AppStatus:
    """Run an earlier version again: the one named `to`, else the newest that differs from what runs."""
    change = _earlier(of, to, say)
    return _make(of, change, "" if change.kind == "nothing" else "rolled back, ", say)


def rollback_dry_run(of: Target, to: str, say: Say) -> str:
    """Say which versions there are, newest first, and what a rollback would change; return what it would send."""
    return as_json(_earlier(of, to, say, shown=_SHOWN))


def stop(of: Target, now: bool, say: Say) -> None:
    """Stop the app that runs there; `now` does not wait for running actions."""
    app = _existing(of)
    if not now and of.app_id == QUEUE.app_id:
        say(f"stopping {of.app_id} on {of.engine.place}")
    elif not now:
        say(
            f"stopping {of.app_id} on {of.engine.place}; running actions may finish (--now does not wait: their "
            "messages return to the queue)"
        )
    try:
        of.engine.stop(of.app_id, now)
    except (Interrupted, KeyboardInterrupt) as interrupt:
        words = str(interrupt) if isinstance(interrupt, Interrupted) else "interrupted"
        status = f"./inv status{of.engine.flag}"
        raise Interrupted(f"{words}; {status} shows what still runs, and this again goes on with the stop") from None
    if of.engine.has_hosts and app.pinned_to and of.app_id == QUEUE.app_id:
        say(
            f"its messages stay on {app.pinned_to}, which {of.engine.place} does not remember: deploy it again with "
            f"--on {app.pinned_to}"
        )


def tell_change(change: Change, engine: Scheduler, say: Say) -> None:
    """Say what a change does, a line each."""
    said = {
        "create": "{0} is new on {1}",
        "nothing": "{0} runs on {1} as it should: nothing changes",
        "restart": "{0} on {1} is started anew",
    }
    usual = "{0} on {1} changes:" if change.differences else "{0} on {1}: what has ended is started again"
    say(said.get(change.kind, usual).format(change.app.id, engine.place))
    for line in () if change.kind in said else change.differences:
        say(f"  {line}")


def as_json(change: Change) -> str:
    """Return what a change would send, for --dry-run."""
    return json.dumps(change.sent, indent=2)


@contextmanager
def undone_on_failure(engine: Scheduler, app_id: str, before: AppSpec | None, say: Say) -> Iterator[None]:
    """Bring back what ran before when a change of an app was made and fails.

    Raises:
        ClusterError: the failure, and what came of bringing it back.
    """
    try:
        yield
    except ChangeFailed as failure:
        outcome = _undo(engine, app_id, before, say)
        if not outcome:
            raise
        if failure.lines:
            raise ClusterError(failure.message, [*failure.lines, outcome]) from failure
        raise ClusterError(f"{failure}; {outcome}") from failure


def _undo(engine: Scheduler, app_id: str, before: AppSpec | None, say: Say) -> str:
    """Bring back what ran before and return the outcome; empty where it runs anyway."""
    options = DeployOptions(force=True, drain=False, is_undo=True)
    try:
        now = engine.present(app_id)
        if now == before and (now is None or before is None or now.native == before.native):
            return ""
        say(f"{app_id}: going back to what ran before")
        if before is None:
            engine.stop(app_id, drain=False)
            return "rolled back: nothing ran before, so it was stopped"
        running = engine.apply(engine.plan(before, options), options).running
    except ClusterError as error:
        return f"and it could not be rolled back: {error}"
    return f"rolled back: {running} of {before.instances} instances of what ran before run"


def _existing(of: Target) -> AppSpec:
    found = of.engine.present(of.app_id)
    if found is None:
        raise NotRunning(of.app_id, of.engine)
    return found


def _earlier(of: Target, to: str, say: Say, shown: int = 0) -> Change:
    """Say, and return, the change to an earlier version, with as many instances as now, its data where it is.

    The newest versions are shown, so many of them.
    """
    present, history = _existing(of), of.engine.history(of.app_id)
    first = list(islice(history, shown))
    for name, app in first:
        say(f"{name}  {app.labels.get('tag', '')}  {app.instances} instances  {app.image}")
    names = []
    for name, app in chain(first, history):
        names.append(name)
        if to not in ("", name):
            continue
        # How many there are where the queue decides says nothing of how many are wanted.
        instances = app.instances if app.max_instances or present.max_instances else present.instances
        kept = replace(app, instances=instances, pinned_to=present.pinned_to or app.pinned_to)
        change = of.engine.plan(kept, of.options)
        if to or change.kind != "nothing":
            tell_change(change, of.engine, say)
            return change
    if not names:
        again = "run-local" if of.engine.is_here else "deploy"
        raise ClusterError(
            f"{of.app_id} has no versions on {of.engine.place}: {again} with the earlier tag (-t) brings it back"
        )
    if to:
        raise ClusterError(f"{of.app_id} has no version {to!r}; the newest are {', '.join(names[:_NAMED])}")
    raise ClusterError(f"{of.app_id} has no earlier version that differs from the present one")


def _make(of: Target, change: Change, done: str, say: Say) -> AppStatus:
    status = of.engine.apply(change, of.options)
    wanted = len(status.instances)
    how_many = f"{status.running} of {wanted}" if status.running < wanted else str(wanted)
    waits = f", {status.shortage}" if status.waiting else ""
    most = f"; {status.spec.number} are wanted" if status.spec.max_instances else ""
    say(f"{of.app_id}: {done}{how_many} {'instance' if wanted == 1 else 'instances'} up{waits}{most}")
    return status
