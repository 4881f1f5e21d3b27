"""Marathon as a scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from cluster.apps.definitions import refuse_other_queue
from cluster.interrupts import Interrupted
from cluster.schedulers import App, AppStatus, Change, Kind
from cluster.schedulers.marathon import agents, changes, failures, standstill, stopping, versions
from cluster.schedulers.marathon.agents import Engines
from cluster.schedulers.marathon.api import Accepted, Api
from cluster.schedulers.marathon.api import App as Answer
from cluster.schedulers.marathon.app_status import oldest_first, status_of
from cluster.schedulers.marathon.comparison import definition_of, differences, is_same
from cluster.schedulers.marathon.draining import Draining
from cluster.schedulers.marathon.following import Following, NotDeployed, Watch
from cluster.schedulers.marathon.judgement import Goal
from cluster.schedulers.marathon.ownership import is_ours, labelled, refuse_foreign
from cluster.terminal.live_line import live_line
from scripts.app_id import canonical_app_id
from scripts.errors import ClusterError
from scripts.hostport import HostPort
from scripts.json_values import mapping
from scripts.marathon.discovery import pick

DEPLOY_S = 600


@dataclass(frozen=True)
class Manner:
    """How changes are made: past the locks and claims of others, waited for, and undone when they fail.

    With `drain` workers finish what they run first, where the agents are reached and the change is waited for.
    """

    force: bool = False
    wait: bool = True
    undo: bool = False
    drain: bool = True


class Marathon:
    """Runs apps on the agents of a Marathon; touches only what bears the label cluster.project=<project>.

    Marathon starts an instance again after its program ended, whatever the exit code.
    """

    name = "marathon"

    def __init__(
        self, api: Api, project: str, say: Callable[[str], None], manner: Manner = Manner(),
        engines: Engines | None = None,
    ) -> None:  # fmt: skip
        """`say` gets a line for each event.

        `engines` are needed for logs, and for a stop that grants no time, or more than Marathon does.
        """
        self._api, self._project, self._say = api, project, say
        self._manner, self._engines = manner, engines

    @property
    def place(self) -> str:
        """Marathon's addresses, for people."""
        return self._api.place

    def check(self) -> None:
        """See that a Marathon answers that understands our definitions; raises as `Api.check`."""
        self._api.check()

    def present(self, app_id: str) -> Answer | None:
        """An app as it is, whosever it is, of a Marathon that was checked; None where there is none."""
        self._api.check()
        return self._api.app(app_id)

    def refuse_locked(self, app_id: str) -> None:
        """See that a change of the app would be taken on; raises as `Api.refuse_locked`, unless locks are overcome."""
        if not self._manner.force:
            self._api.refuse_locked(app_id)

    def plan(self, app: App) -> Change:
        """What `deploy` would do now, and how it differs from what is there; changes nothing."""
        return self._plan(app, self._present(app))

    def deploy(self, app: App, timeout_s: float = DEPLOY_S) -> AppStatus:
        """Run the app as defined, in place of what runs under its id, and return when all of it works."""
        present = self._present(app)
        planned, wanted = self._plan(app, present), labelled(app, self._project)
        if planned.kind == "nothing" and present is not None:
            return self._reach(Goal(wanted, _deployment(present), str(present.get("version")), present), timeout_s)
        if present is not None and self._drains:
            if planned.kind == "replace":
                self._draining.all_of(present)
            else:
                self._draining.beyond(present, app.instances)
        force = self._manner.force
        accepted = self._make(
            app.id,
            lambda: self._api.put(app.id, wanted, force=force),
            lambda now: now is not None and not differences(now, wanted),
        )
        return self._reach(Goal(wanted, accepted.deployment, accepted.version, present), timeout_s)

    def scale(self, app_id: str, instances: int, timeout_s: float = DEPLOY_S) -> AppStatus:
        """Run so many instances of the app's present definition; those that run are left in peace."""
        present = self.existing(app_id, "scale")
        _check_instances(app_id, instances)
        if self._drains:
            self._draining.beyond(present, instances)
        accepted = self._make(
            app_id,
            lambda: self._api.put(app_id, {"instances": instances}, force=self._manner.force, partial=True),
            lambda now: now is not None and now.get("instances") == instances,
        )
        wanted = definition_of(present) | {"instances": instances}
        return self._reach(Goal(wanted, accepted.deployment, accepted.version, present), timeout_s)

    def restart(self, app_id: str, timeout_s: float = DEPLOY_S) -> AppStatus:
        """Start every instance anew, the definition being the same."""
        present = self.existing(app_id, "restart")
        if self._drains:
            self._draining.all_of(present)
        accepted = self._make(
            app_id,
            lambda: self._api.restart(app_id, force=self._manner.force),
            lambda now: now is not None and now.get("version") != present.get("version"),
        )
        goal = Goal(definition_of(present), accepted.deployment, accepted.version, present)
        return self._reach(goal, timeout_s)

    def rollback(self, app_id: str, to: str = "", timeout_s: float = DEPLOY_S) -> AppStatus:
        """Run an earlier version, as many instances of it as are wanted now; data stays on the agent where it is."""
        app = App(app_id, self.earlier(app_id, to))
        self._say(f"{app_id}: back to what ran as {app.definition.get('labels', {}).get('tag', 'an earlier version')}")
        return self.deploy(app, timeout_s)

    def earlier(self, app_id: str, to: str = "") -> dict[str, Any]:
        """The definition of a version, or without one of the newest that differs from the present one.

        Raises:
            ClusterError: there is none.
        """
        return versions.earlier(self._api, self.existing(app_id, "rollback"), to)

    def history(self, app_id: str) -> Iterator[tuple[str, Answer]]:
        """The versions of an app with their definitions, newest first, each asked for when it is its turn."""
        return versions.history(self._api, app_id)

    def stop(self, app_id: str, now: bool = False) -> bool:
        """Stop the app and forget it, its data staying on its agent; False when there was none."""
        present = self._api.app(app_id)
        if present is None:
            return False
        self._refuse_foreign(present, "stop")
        if self._drains and not now:
            self._draining.all_of(present)
        # Asked for before: an app that is deleted names its tasks no longer.
        task_ids = self._api.task_ids(app_id)
        # Reached before anything is done: without them there is no `now`.
        with agents.opened(self._engines, app_id, task_ids) if now else nullcontext([]) as engines:
            accepted = self._make(app_id, lambda: self._api.delete(app_id), lambda found: found is None)
            if now:
                agents.kill(engines, task_ids)
        if self._manner.wait:
            try:
                stopping.wait_until_gone(self._api, present, accepted, task_ids, self._say)
            except KeyboardInterrupt:
                raise Interrupted(f"interrupted: {app_id} is deleted, and its instances finish by themselves") from None
        return True

    @property
    def _draining(self) -> Draining:
        return Draining(self._api, self._engines, self._say)

    @property
    def _drains(self) -> bool:
        """Whether workers finish what they run before Marathon ends them."""
        return self._manner.wait and self._manner.drain

    def status(self) -> list[AppStatus]:
        """All apps of this project; nothing that someone else deployed."""
        ours = [app for app in self._api.apps() if is_ours(app, self._project)]
        queue = self._api.queue() if ours else []
        return sorted((status_of(app, queue) for app in ours), key=lambda app: app.id)

    def logs(self, app_id: str, tail: int = 100, follow: bool = False) -> Iterator[str]:
        """The last `tail` lines of every instance, read from the engines of the agents."""
        app = self.existing(app_id, "read the logs of")
        task_ids = [str(task.get("id")) for task in oldest_first(app)]
        with agents.opened(self._engines, app_id, task_ids) as engines:
            yield from agents.lines(engines, app_id, task_ids, tail, follow)

    def hostport(self, app_id: str, port_name: str = "") -> HostPort:
        """The address of a port of a running instance: the named one, or the one of this number, else the first."""
        app = self._api.app(app_id)
        if app is None:
            raise self._absent(app_id)
        index = int(port_name) if port_name.isdecimal() else 0
        return pick(app, "" if port_name.isdecimal() else port_name, index)

    def delete_data(self, app_id: str) -> list[str]:
        """Refused, except for all apps, where nothing is deleted: the data is on agents, in folders of theirs."""
        if app_id:
            raise ClusterError(
                f"the data of {app_id} is on its agent, under /var/lib/cluster: delete it there "
                "(./inv agents.run --hosts HOST --command '...')"
            )
        return []

    def _present(self, app: App) -> Answer | None:
        """What is there of an app that shall be deployed."""
        canonical_app_id(app.id)
        _check_instances(app.id, app.instances)
        self._api.check()
        present = self._api.app(app.id)
        if present is not None:
            self._refuse_foreign(present, "deploy")
            refuse_other_queue(app.id, present, app.definition)
        return present

    def _plan(self, app: App, present: Answer | None) -> Change:
        wanted = labelled(app, self._project)
        if present is None:
            return Change(app.id, "create", {app.id: wanted})
        found = tuple(differences(present, wanted))
        if not found:
            return Change(app.id, "nothing", {})
        kind: Kind = "scale" if is_same(present, wanted) else "replace"
        return Change(app.id, kind, {app.id: wanted}, found)

    def _make(
        self, app_id: str, send: Callable[[], Accepted], is_made: Callable[[Answer | None], bool]
    ) -> Accepted:  # fmt: skip
        try:
            return changes.make(self._api, changes.Change(app_id, send, is_made), self._say)
        except KeyboardInterrupt:
            raise Interrupted(
                f"interrupted: Marathon may have taken on the change of {app_id}; ./inv status -m {self.place} shows it"
            ) from None

    def _reach(self, goal: Goal, timeout_s: float) -> AppStatus:
        """Follow a change to its end, unless nobody wants to wait."""
        app_id = str(goal.wanted["id"])
        if self._manner.wait:
            try:
                with live_line(f"{app_id} on Marathon") as show:
                    Following(self._api, goal, Watch(self._say, show)).follow(timeout_s)
            except NotDeployed as failure:
                if self._manner.undo and goal.deployment:
                    raise NotDeployed(f"deploy {app_id}: {failure}; {self._undo(goal)}") from failure
                raise failures.told(self._api, goal, failure) from failure
            except KeyboardInterrupt:
                raise failures.interrupted(self._api, goal) from None
        app = self._api.app(app_id)
        return status_of(app, self._api.queue()) if app else AppStatus(app_id, ())

    def _undo(self, goal: Goal) -> str:
        """Bring back what ran before; what was done about it."""
        app_id, forced = str(goal.wanted["id"]), replace(self._manner, force=True, undo=False, drain=False)
        again = Marathon(self._api, self._project, self._say, forced, self._engines)
        self._say(f"{app_id}: going back to what ran before")
        try:
            if goal.before is None:
                again.stop(app_id)
                return "rolled back: nothing ran before, so it was stopped"
            app = self._api.app(app_id)
            if app and standstill.never_placed(app):
                again.stop(app_id)
            status = again.deploy(App(app_id, definition_of(goal.before)))
        except ClusterError as error:
            return f"and it could not be rolled back: {error}"
        return f"rolled back: {status.running} of {goal.before.get('instances', 1)} instances of what ran before run"

    def existing(self, app_id: str, doing: str) -> Answer:
        """An app of this project.

        Raises:
            ClusterError: there is none, or it is someone else's.
        """
        app = self._api.app(app_id)
        if app is None:
            raise self._absent(app_id)
        self._refuse_foreign(app, doing)
        return app

    def _absent(self, app_id: str) -> ClusterError:
        return ClusterError(
            f"{app_id} does not run on Marathon at {self.place}: ./inv status -m {self.place} shows what does"
        )

    def _refuse_foreign(self, app: Answer, doing: str) -> None:
        if not self._manner.force:
            refuse_foreign(app, self._project, doing, self.place)


def _deployment(app: Answer) -> str:
    """The deployment that works on the app."""
    found = app.get("deployments") or [{}]
    return str(mapping(found[0]).get("id") or "")


def _check_instances(app_id: str, instances: int) -> None:
    if instances < 1:
        raise ClusterError(f"{app_id}: instances is {instances}: give 1 or more; stopping an app is a command")
