"""What is done to an app that runs, on this machine or on a cluster."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from cluster.apps import cluster_apps, definitions
from cluster.components import QUEUE
from cluster.operations import deploy as deploying
from cluster.operations import run as running
from cluster.schedulers import App, AppStatus, Scheduler, selection
from cluster.schedulers.marathon.scheduler import Manner, Marathon
from cluster.settings import Settings
from scripts.app_id import canonical_app_id
from scripts.errors import ClusterError

Say = Callable[[str], None]

# As many versions as a screen shows.
_SHOWN = 10


@dataclass(frozen=True)
class Target:
    """The app that is meant, and where: under which Marathon (empty: on this machine).

    `wait_timeout_s` and `manner` are for Marathon; apps of this machine have their own times.
    """

    app_id: str
    marathon: str
    wait_timeout_s: float
    manner: Manner

    def scheduler(self, settings: Settings, say: Say) -> Scheduler:
        """Where it runs."""
        if self.marathon:
            return selection.marathon(settings, self.marathon, say, self.manner)
        return selection.running(settings, self.app_id)


def target(
    settings: Settings, app_id: str, marathon: str = "", wait_timeout_s: float = 600, force: bool = False
) -> Target:  # fmt: skip
    """The app that flags mean."""
    where = selection.marathon_of(settings, marathon)
    return Target(canonical_app_id(app_id), where, wait_timeout_s, Manner(force=force))


def workers(settings: Settings, queue: str, app: str) -> str:
    """The id of the workers that flags mean: --app, else those of the queue."""
    return app or definitions.worker_id(queue or settings.queue.name)


def scale(settings: Settings, of: Target, instances: int, say: Say) -> None:
    """Run so many instances.

    Raises:
        ClusterError: no such app, or a number that makes no sense.
    """
    if instances < 1:
        raise ClusterError(f"--instances {instances}: use 1 or more, or stop it for none")
    where = of.scheduler(settings, say)
    status = where.scale(of.app_id, instances, of.wait_timeout_s) if of.marathon else where.scale(of.app_id, instances)
    say(f"{of.app_id}: {_up(status)}")


def restart(settings: Settings, of: Target, say: Say) -> None:
    """Stop and start every instance."""
    where = of.scheduler(settings, say)
    status = where.restart(of.app_id, of.wait_timeout_s) if of.marathon else where.restart(of.app_id)
    say(f"{of.app_id}: started anew, {_up(status)}")


def rollback(settings: Settings, of: Target, to: str, dry_run: bool, say: Say) -> None:
    """Run an earlier version again; with `dry_run` list the versions and show what would be changed."""
    where = of.scheduler(settings, say)
    if dry_run and isinstance(where, Marathon):
        _show_versions(where, of.app_id, to, say)
        return
    if isinstance(where, Marathon):
        for line in deploying.told(where.plan(App(of.app_id, where.earlier(of.app_id, to))), where.place):
            say(line)
    status = where.rollback(of.app_id, to, of.wait_timeout_s)
    say(f"{of.app_id}: rolled back, {_up(status)}")


def stop(settings: Settings, of: Target, now: bool, say: Say) -> None:
    """Stop an app.

    Raises:
        ClusterError: it does not run there.
    """
    if not of.marathon:
        running.stop(settings, of.app_id, now, say)
        return
    where = selection.marathon(settings, of.marathon, say, of.manner)
    place = cluster_apps.data_host(where.existing(of.app_id, "stop"))
    if not now:
        say(f"stopping {of.app_id} on Marathon at {of.marathon}; running actions may finish")
    where.stop(of.app_id, now)
    if place and of.app_id == QUEUE.app_id:
        say(f"its messages stay on {place}, which Marathon does not remember: deploy it again with --on {place}")


def logs(settings: Settings, of: Target, tail: int, follow: bool, say: Say) -> Iterator[str]:
    """The last lines of every instance of an app."""
    return of.scheduler(settings, say).logs(of.app_id, tail, follow)


def _show_versions(where: Marathon, app_id: str, to: str, say: Say) -> None:
    """What there is to go back to, newest first, and what going back would change."""
    for version, found in islice(where.history(app_id), _SHOWN):
        labels, docker = found.get("labels") or {}, (found.get("container") or {}).get("docker") or {}
        say(f"{version}  {labels.get('tag', '')}  {found.get('instances', 1)} instances  {docker.get('image', '')}")
    change = where.plan(App(app_id, where.earlier(app_id, to)))
    for line in deploying.told(change, where.place):
        say(line)
    print(json.dumps(change.sent.get(app_id, {}), indent=2))


def _up(status: AppStatus) -> str:
    wanted = len(status.instances)
    how_many = f"{status.running} of {wanted}" if status.running < wanted else str(wanted)
    return f"{how_many} {'instance' if wanted == 1 else 'instances'} up"
