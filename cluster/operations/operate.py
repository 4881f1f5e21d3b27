"""Operations on an app that is there, the same on every engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

from cluster.apps import definitions
from cluster.apps.app import AppSpec, AppStatus, Change
from cluster.components import QUEUE
from cluster.interrupts import Interrupted
from cluster.operations.changes import as_json, tell_change
from cluster.schedulers import DeployOptions, Say, Scheduler, selection
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
    engines = selection.candidates(settings, at, marathon, say)
    return Target(app_id, selection.running(engines, app_id), options)


def workers_id(settings: Settings, queue: str, app: str) -> str:
    """Return the id of the workers that flags mean: --app, else that of the queue's workers."""
    return app or definitions.worker_id(queue or settings.queue.name)


def scale(of: Target, instances: int, say: Say) -> AppStatus:
    """Run so many instances.

    Raises:
        ClusterError: no such app, or a number below 1.
    """
    return _make(of, of.engine.plan(replace(_existing(of), instances=instances), of.options), "", say)


def restart(of: Target, say: Say) -> AppStatus:
    """Start every instance anew, after its running actions."""
    return _make(of, of.engine.plan(_existing(of), of.options, restart=True), "started anew, ", say)


def rollback(of: Target, to: str, say: Say) -> AppStatus:
    """Run an earlier version again: the one named `to`, else the newest that differs from what runs."""
    change = of.engine.plan(_earlier(of, to), of.options)
    tell_change(change, of.engine, say)
    return _make(of, change, "rolled back, ", say)


def rollback_dry_run(of: Target, to: str, say: Say) -> str:
    """Say which versions there are, newest first, and what a rollback would change; return what it would send."""
    change = of.engine.plan(_earlier(of, to), of.options)
    for version, app in islice(of.engine.history(of.app_id), _SHOWN):
        say(f"{version}  {app.labels.get('tag', '')}  {app.instances} instances  {app.image}")
    tell_change(change, of.engine, say)
    return as_json(change)


def stop(of: Target, now: bool, say: Say) -> None:
    """Stop the app that runs there; `now` does not wait for running actions."""
    app = _existing(of)
    if not now:
        say(
            f"stopping {of.app_id} on {of.engine.place}; running actions may finish (--now does not wait: their "
            "messages return to the queue)"
        )
    try:
        of.engine.stop(of.app_id, now)
    except KeyboardInterrupt as interrupt:
        raise Interrupted(
            f"interrupted: {of.app_id} ends by itself when its actions have, and is not started again; a second stop "
            "waits for nothing"
        ) from interrupt
    if of.engine.has_hosts and app.pinned_to and of.app_id == QUEUE.app_id:
        say(
            f"its messages stay on {app.pinned_to}, which {of.engine.place} does not remember: deploy it again with "
            f"--on {app.pinned_to}"
        )


def _existing(of: Target) -> AppSpec:
    found = of.engine.present(of.app_id)
    if found is None:
        raise ClusterError(
            f"{of.app_id} does not run on {of.engine.place}: ./inv status{selection.flag(of.engine)} shows what does"
        )
    return found


def _earlier(of: Target, to: str) -> AppSpec:
    """Return the version to go back to, with as many instances as now; an app with data is kept where it is."""
    present = _existing(of)
    versions = [name for name, _ in islice(of.engine.history(of.app_id), _NAMED)]
    if not versions:
        again = "run-local" if of.engine.is_here else "deploy"
        raise ClusterError(
            f"{of.app_id} has no versions on {of.engine.place}: {again} with the earlier tag (-t) brings it back"
        )
    for name, app in of.engine.history(of.app_id):
        kept = replace(app, instances=present.instances, pinned_to=present.pinned_to or app.pinned_to)
        if name == to or (not to and of.engine.plan(kept, of.options).kind != "nothing"):
            return kept
    raise _no_version(of.app_id, to, versions)


def _no_version(app_id: str, to: str, versions: Sequence[str]) -> ClusterError:
    if to:
        return ClusterError(f"{app_id} has no version {to!r}; the newest are {', '.join(versions)}")
    return ClusterError(f"{app_id} has no earlier version that differs from the present one")


def _make(of: Target, change: Change, done: str, say: Say) -> AppStatus:
    status = of.engine.apply(change, of.options)
    wanted = len(status.instances)
    how_many = f"{status.running} of {wanted}" if status.running < wanted else str(wanted)
    say(f"{of.app_id}: {done}{how_many} {'instance' if wanted == 1 else 'instances'} up")
    return status
