"""What every scheduler of one machine does, whatever its instances are made of."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import groupby
from typing import Any, Generic, TypeVar

from cluster.apps.definitions import refuse_other_queue
from cluster.schedulers import App, AppStatus, Change, Instance
from cluster.schedulers.docker.translate import check
from cluster.schedulers.instances import Found, Steps, address, check_instances, decide
from cluster.schedulers.waiting import NotUp
from scripts.errors import ClusterError
from scripts.hostport import HostPort

T = TypeVar("T")

_TRIAL = 0  # a number that no instance has


def to_stderr(text: str) -> None:
    """Where progress goes unless someone else wants it."""
    print(text, file=sys.stderr)


class OneMachine(ABC, Generic[T]):
    """A scheduler whose instances, the T, are started, watched and ended one by one.

    A deploy stops old instances before it starts the new, which may need their ports and data. An instance whose
    program ends right away is kept for its logs; one that takes longer than the time given is left running, and the
    next deploy waits for it again.
    """

    name: str

    def __init__(self, project: str, say: Callable[[str], None]) -> None:
        """`say` gets a line for each step that takes its time."""
        self._project, self._say = project, say

    def plan(self, app: App) -> Change:
        """What `deploy` would do now; changes nothing."""
        with self._errors(f"plan {app.id}"):
            found = self._found(app.id)
            steps = self._decide(app, found)
            return Change(app.id, steps.kind, self._prepare(app, steps.create, found))

    def deploy(self, app: App, timeout_s: float = 60) -> AppStatus:
        """Run the app as defined, in place of what runs under its id, and return when all of it works."""
        with self._errors(f"deploy {app.id}"), self._alone(app.id):
            found = self._found(app.id)
            return self._run(app, self._decide(app, found), found, timeout_s)

    def scale(self, app_id: str, instances: int, timeout_s: float = 60) -> AppStatus:
        """Run so many instances of the app's present definition; those that run are left in peace."""
        with self._errors(f"scale {app_id}"), self._alone(app_id):
            found = self._existing(app_id)
            app = App(app_id, self._made_from(found[0]) | {"instances": instances})
            check_instances(app)
            steps = decide(instances, [Found(self._number(one), self._runs(one)) for one in found])
            return self._run(app, steps, found, timeout_s)

    def restart(self, app_id: str, timeout_s: float = 60) -> AppStatus:
        """Stop and start every instance, the definition being the same."""
        with self._errors(f"restart {app_id}"), self._alone(app_id):
            found = self._existing(app_id)
            app = App(app_id, self._made_from(found[0]) | {"instances": len(found)})
            numbers = tuple(sorted(self._number(one) for one in found))
            return self._run(app, Steps(stop=numbers, create=numbers, keep=()), found, timeout_s)

    def rollback(self, app_id: str, to: str = "", timeout_s: float = 60) -> AppStatus:
        """Refused: this machine keeps no earlier definitions."""
        self._existing(app_id)
        raise ClusterError(
            f"{app_id} has no versions here ({self.name}): run-local with the earlier tag (-t) brings it back"
        )

    def run_once(self, app: App, timeout_s: float = 60) -> tuple[int, list[str]]:
        """Run the app's command as its instances would be run, beside those that run, until it ends.

        Its exit code, and the last lines that it printed (a busy engine loses some now and then).
        """
        with self._errors(f"try {app.id}"), self._alone(app.id):
            # What an interruption has left of an earlier one.
            self._end([one for one in self._found(app.id) if self._number(one) == _TRIAL], now=True)
            ((name, what),) = self._prepare(app, [_TRIAL], ()).items()
            self._get_ready(app)
            return self._run_to_end(app, name, what, timeout_s)

    def as_it_runs(self, app_id: str) -> App | None:
        """Return the app as so many instances run it, their very image included; None where none runs."""
        with self._errors(f"look for {app_id}"):
            running = [one for one in self._found(app_id) if self._runs(one)]
            return App(app_id, self._made_from(running[0]) | {"instances": len(running)}) if running else None

    def stop(self, app_id: str, now: bool = False) -> bool:
        """Stop the app and forget it, its data staying; False when there was none."""
        with self._errors(f"stop {app_id}"):
            found = self._found(app_id)
            self._end(found, now)
            return bool(found)

    def status(self) -> list[AppStatus]:
        """All apps of this project, stopped instances included."""
        with self._errors("look for what runs"):
            by_app = groupby(self._found(), lambda one: self._app(one).id)
            return [self._status_of(app_id, list(group)) for app_id, group in by_app]

    def logs(self, app_id: str, tail: int = 100, follow: bool = False) -> Iterator[str]:
        """The last `tail` lines of every instance, each beginning with the instance's name."""
        with self._errors(f"read the logs of {app_id}"):
            yield from self._lines(self._existing(app_id), tail, follow)

    def hostport(self, app_id: str, port_name: str = "") -> HostPort:
        """The address of a port of a running instance: the named one, else the first."""
        with self._errors(f"look for {app_id}"):
            return address(self._status_of(app_id, self._found(app_id)), port_name)

    def delete_data(self, app_id: str) -> list[str]:
        """Delete the data of a stopped app, or with an empty id of all; the names of what was deleted."""
        with self._errors(f"delete the data of {app_id or 'all apps'}"):
            if found := self._found(app_id):
                used_by = self._app(found[0]).id
                raise ClusterError(f"the data of {used_by} is in use: stop {used_by} first")
            return self._delete_data(app_id)

    def _decide(self, app: App, found: Sequence[T]) -> Steps:
        check(app)
        check_instances(app)
        for one in found:
            refuse_other_queue(app.id, self._app(one).definition, app.definition)
        return decide(
            app.instances, [Found(self._number(one), self._runs(one) and self._is_made_from(one, app)) for one in found]
        )

    def _run(self, app: App, steps: Steps, found: Sequence[T], timeout_s: float) -> AppStatus:
        prepared = self._prepare(app, steps.create, found)
        if prepared:
            self._get_ready(app)
        self._end([one for one in found if self._number(one) in steps.stop], now=False)
        kept = [one for one in found if self._number(one) in steps.keep]
        made = [self._start(app, name, what) for name, what in prepared.items()]
        try:
            self._wait([*kept, *made], timeout_s)
        except NotUp as error:
            raise error.told(app, self._status_of(app.id, self._found(app.id)).running) from error
        return self._status_of(app.id, self._found(app.id))

    def _existing(self, app_id: str) -> list[T]:
        found = self._found(app_id)
        if not found:
            raise ClusterError(f"{app_id} does not run here ({self.name}): ./inv status shows what does")
        return found

    def _status_of(self, app_id: str, found: Sequence[T]) -> AppStatus:
        return AppStatus(app_id, tuple(self._instance(one) for one in found))

    def _errors(self, doing: str) -> AbstractContextManager[None]:
        """Turns errors of a library into expected ones."""
        return nullcontext()

    def _alone(self, app_id: str) -> AbstractContextManager[None]:
        """Keeps two deploys of an app apart."""
        return nullcontext()

    @abstractmethod
    def _found(self, app_id: str = "") -> list[T]:
        """The instances of an app of this project, or of all; by app and number."""

    @abstractmethod
    def _app(self, one: T) -> App:
        """The app as this instance of it was deployed."""

    def _made_from(self, one: T) -> dict[str, Any]:
        """The definition that this instance was made from, its image by content where its name may mean another."""
        return self._app(one).definition

    @abstractmethod
    def _number(self, one: T) -> int:
        """Which instance of its app it is."""

    @abstractmethod
    def _runs(self, one: T) -> bool:
        """Whether its program runs."""

    @abstractmethod
    def _is_made_from(self, one: T, app: App) -> bool:
        """Whether it was made from this definition."""

    @abstractmethod
    def _instance(self, one: T) -> Instance:
        """It as people know it."""

    @abstractmethod
    def _prepare(self, app: App, numbers: Sequence[int], found: Sequence[T]) -> dict[str, dict[str, Any]]:
        """What to make of the app, by name; refuses what would fail after the old instances have gone."""

    @abstractmethod
    def _get_ready(self, app: App) -> None:
        """Bring here what instances are made from."""

    @abstractmethod
    def _start(self, app: App, name: str, what: dict[str, Any]) -> T:
        """Make and start an instance."""

    @abstractmethod
    def _run_to_end(self, app: App, name: str, what: dict[str, Any], timeout_s: float) -> tuple[int, list[str]]:
        """Make and start an instance, and forget it when it has ended; its exit code and its last lines."""

    @abstractmethod
    def _wait(self, started: Sequence[T], timeout_s: float) -> None:
        """Return when all work; raises NotUp."""

    @abstractmethod
    def _end(self, found: Sequence[T], now: bool) -> None:
        """Stop and remove instances."""

    @abstractmethod
    def _lines(self, found: Sequence[T], tail: int, follow: bool) -> Iterator[str]:
        """What they print."""

    @abstractmethod
    def _delete_data(self, app_id: str) -> list[str]:
        """Delete data that nothing uses."""
