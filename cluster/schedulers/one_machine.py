"""The part of an engine of one machine that is the same whatever its instances are made of."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from threading import Thread
from typing import Any, Generic, TypeVar

from cluster.apps.app import AppSpec, AppStatus, Change, Image, Instance, differences
from cluster.apps.definitions import refuse_other_queue
from cluster.credentials import SecretFile
from cluster.engine import port_holder
from cluster.interrupts import Interrupted
from cluster.schedulers import (
    POLL_S,
    BrokerLocation,
    ChangeFailed,
    DeployOptions,
    LongWait,
    Look,
    NotRunning,
    Overtaken,
    Say,
    Wanted,
    every_line,
)
from cluster.schedulers.instances import (
    MachineInstance,
    NotUp,
    Steps,
    choose_ports,
    decide,
    instance_name,
    port_is_free,
    write_secrets,
)
from cluster.settings import Settings
from scripts.errors import ClusterError, ServiceAway
from scripts.hostport import HostPort

T = TypeVar("T", bound=MachineInstance)

_TRIAL = 0  # a number that no instance has
_LOOKED_AT_AT_ONCE = 8
_LOOK_EVERY_S = 0.02
_TRIAL_STOP_S = 15.0  # a kept-alive action has 10 s to finish
_LAST_LINES_S = 5.0
_ALL_LINES = 1_000_000
_LEFT_S = 60.0  # whoever started a trial has looked at its end long before


class OneMachine(ABC, Generic[T]):
    """An engine whose instances, the T, are started, watched and ended one by one.

    A deploy stops old instances before it starts the new, which may need their ports and data. An instance whose
    program ends right away is kept for its logs; one that takes longer than the time given is left running, and the
    next deploy waits for it again.
    """

    name: str
    address = ""
    is_here = True
    has_hosts = False
    is_batch = False
    has_images = True
    limits_resources = True
    makes_data_folders = False
    caveat = ""
    options: tuple[str, ...] = ()

    def __init__(self, settings: Settings, say: Say) -> None:
        """Make the engine for a project; `say` gets a line for each step that takes its time."""
        self._settings, self._project, self._say = settings, settings.project, say
        self.place = f"this machine ({self.name})"
        self.flag = "" if settings.scheduler == self.name else f" --at {self.name}"

    @property
    def user(self) -> str:
        """The image's own user."""
        return ""

    def present(self, app_id: str) -> AppSpec | None:
        """Return the app as so many instances of it run, or where none runs, are there, their very image included."""
        with self._errors(f"look for {app_id}"):
            return _present(self._instances(app_id))

    def plan(self, app: AppSpec, options: DeployOptions = DeployOptions(), *, restart: bool = False) -> Change:
        """Return what `apply` would do now."""
        with self._errors(f"plan {app.id}"):
            found = self._instances(app.id)
            steps, present = self._decide(app, found, restart), _present(found)
            changed = differences(present.as_json(), app.as_json()) if present else ()
            kind = "restart" if restart and found else steps.kind
            return Change(app, kind, self._prepare(app, steps.create, found), tuple(changed))

    def apply(self, change: Change, options: DeployOptions = DeployOptions()) -> AppStatus:
        """Make a change, and return when all of it works."""
        app = change.app
        with self._errors(f"deploy {app.id}"), self._alone(app.id):
            found = self._without_trials(app.id)
            steps = self._decide(app, found, change.kind == "restart")
            prepared = self._prepare(app, steps.create, found)
            write_secrets(self._project, app.secret_files, partial(self._reader, app))
            if prepared:
                self._get_ready(app)
            old, there = ([one for one in found if one.number in each] for each in (steps.stop, steps.keep))
            with _undoable(), self._errors(f"deploy {app.id}"), _explained_when_interrupted(old, there):
                self._end(old, drain=options.drain)
                for name, what in prepared.items():
                    there.append(self._start(app, name, what, options.wait))
                if options.wait:
                    self._wait(app, there, options.timeout_s)
            return self._status_of(app)

    def run_once(self, app: AppSpec, timeout_s: float = 60, look: Look | None = None) -> tuple[int, list[str]]:
        """Run the app's command as its instances would be run, beside those that run, until it ends."""
        with self._errors(f"try {app.id}"), self._alone(app.id):
            self._without_trials(app.id)
            self._forget_left()
            self._check(app)
            ((name, what),) = self._prepare(app, [_TRIAL], ()).items()
            write_secrets(self._project, app.secret_files, partial(self._reader, app))
            self._get_ready(app)
            try:
                return self._run_to_end(self._start(app, name, what, is_followed=True), timeout_s, look)
            finally:
                self._without_trials(app.id)

    def _run_to_end(self, one: T, timeout_s: float, look: Look | None) -> tuple[int, list[str]]:
        deadline, follower = time.monotonic() + timeout_s, None
        if look:
            follower = Thread(target=self._pass_on, args=[one, look], daemon=True)
            follower.start()
        while one.still_runs() and not (look and look.is_over()):
            if time.monotonic() > deadline:
                raise ClusterError(f"{one.name} had not ended after {timeout_s:g} s")
            if not look:
                time.sleep(_LOOK_EVERY_S)
        if one.still_runs():
            one.ask_to_stop()
            deadline = time.monotonic() + _TRIAL_STOP_S
            while one.still_runs() and time.monotonic() < deadline:
                time.sleep(_LOOK_EVERY_S)
        if follower:
            follower.join(_LAST_LINES_S)
        return one.exit_code(), one.last_lines(10)

    def _pass_on(self, one: T, look: Look) -> None:
        with suppress(ClusterError, OSError), self._errors(f"read what {one.name} prints"):
            for line in self._follow([one], _ALL_LINES, every_line):
                look.printed(line.removeprefix(f"{one.name}: "))

    def stop(self, app_id: str, now: bool = False, drain: bool = True) -> bool:
        """Stop the app and forget it, its data staying; False when there was none."""
        with self._errors(f"stop {app_id}"):
            found = self._found(app_id)
            self._end(found, now, drain)
            return bool(found)

    def status(self) -> list[AppStatus]:
        """Return all apps of this project, stopped instances included."""
        with self._errors("look for what runs"):
            found = self._instances()
            seen = dict(zip(found, _seen(found), strict=True))
            by_app = groupby(found, lambda one: one.app.id)
            return [_status_of({one: seen[one] for one in ones}) for _, ones in by_app]

    def logs(self, app_id: str, tail: int = 100, follow: bool = False, wanted: Wanted = every_line) -> Iterator[str]:
        """Yield the last `tail` of the `wanted` lines of every instance, each beginning with the instance's name."""
        with self._errors(f"read the logs of {app_id}"):
            found = self._instances(app_id)
            if not found:
                raise NotRunning(app_id, self)
            if follow:
                yield from self._follow(found, tail, wanted)
            else:
                yield from (f"{one.name}: {line}" for one in found for line in one.last_lines(tail, wanted))

    def address_of(self, app_id: str, port_name: str = "") -> HostPort:
        """Return the address of a port of a running instance: the named one, else the first."""
        with self._errors(f"look for {app_id}"):
            found = [one.seen() for one in self._instances(app_id)]
            running = [one for one in found if one.state == "running"]
            if not running:
                raise NotRunning(app_id, self)
            ports = running[0].ports
            if not ports:
                raise ClusterError(f"{app_id} has no ports")
            if port_name and port_name not in ports:
                raise ClusterError(f"{app_id} has no port {port_name!r}; those are {', '.join(ports)}")
            return ports[port_name or next(iter(ports))]

    def delete_data(self, app_id: str) -> list[str]:
        """Delete the data of a stopped app, or with an empty id of all; return the names of what was deleted."""
        with self._errors(f"delete the data of {app_id or 'all apps'}"):
            if found := self._instances(app_id):
                used_by = found[0].app.id
                raise ClusterError(f"the data of {used_by} is in use: stop {used_by} first")
            self._end(self._found(app_id), now=True)
            return self._delete_data(app_id)

    def history(self, app_id: str) -> Iterator[tuple[str, AppSpec]]:
        """Yield nothing: no versions are kept."""
        yield from ()

    def broker_for(self, queue_app: str) -> BrokerLocation:
        """Return the address of the queue on this machine."""
        return BrokerLocation.at(self._settings.queue.url)

    def place_of(self, file: Path) -> str:
        """Return the file's own path, which processes of this machine see."""
        return str(file)

    def reach(self, address: HostPort) -> HostPort:
        """Return the address as it is."""
        return address

    def _decide(self, app: AppSpec, found: Sequence[T], restart: bool) -> Steps:
        self._check(app)
        for one in found:
            refuse_other_queue(one.app, app)
        # One that was told to stop will not be there for long.
        good = {one.number: one.runs and one.is_made_from(app) and one.state()[0] != "stopping" for one in found}
        return decide(app, {number: is_good and not restart for number, is_good in good.items()})

    def _check(self, app: AppSpec) -> None:
        """Refuse what would be left out though it changes what the app does."""
        app.refuse_unheld(self.name)
        if app.time_limit_s:
            raise ClusterError(
                f"{app.id}: a time limit (--time) of {app.time_limit_s:g} s: {self.name} has none: leave it out"
            )
        app.refuse_elastic(self.name)

    def _prepare(self, app: AppSpec, numbers: Sequence[int], found: Sequence[T]) -> dict[str, dict[str, Any]]:
        """Return what to make of the app, by name; refuse what would fail after the old instances have gone."""
        chosen = zip(numbers, choose_ports(app.ports, len(numbers)), strict=True)
        prepared = {instance_name(self._project, app.id, each[0]): self._what_to_make(app, *each) for each in chosen}
        if prepared:
            self._refuse_foreign(app, prepared)
            self._refuse_used_ports(app, {port for one in found if one.runs for port in one.host_ports})
        return prepared

    def _wait(self, app: AppSpec, pending: Sequence[T], timeout_s: float) -> None:
        """Return when all instances work."""
        deadline = time.monotonic() + timeout_s
        try:
            while pending := [one for one in pending if not one.works()]:
                if time.monotonic() > deadline:
                    raise pending[0].late(timeout_s)
                time.sleep(POLL_S)
        except NotUp as error:
            now = f"{self._status_of(app).running} of {app.instances} instances run now"
            words = f"deploy {app.id}: {error.message}; {now}. Its last lines:{'' if error.lines else ' none'}"
            raise ChangeFailed(words, [f"  {line}" for line in error.lines]) from error

    def _end(self, found: Sequence[T], now: bool = False, drain: bool = True) -> None:
        """Let all finish in their time, side by side, and remove them.

        `now` grants none; without `drain` they have no longer than what ends them by itself gives.
        """
        asked: list[T] = []
        try:
            for one in [] if now else [one for one in found if one.runs]:
                asked.append(one)
                one.ask_to_stop()
            self._let_finish({one: one.app.stop_grace_s if drain else one.app.kill_grace_s for one in asked})
            for one in found:
                one.remove()
        except KeyboardInterrupt:
            try:
                with self._errors("look for what still runs"):
                    running = [one for one in found if one.still_runs()]
            except ClusterError:
                raise Interrupted("interrupted; what still runs is not known") from None
            leaving, staying = _names([one for one in running if one in asked]), _names(set(running) - set(asked))
            words = [f"told to stop, to end by itself: {leaving}"] if leaving else []
            words += [f"not told to stop: {staying}"] if staying else []
            raise Interrupted("; ".join(["interrupted", *(words or ["what was to be stopped has ended"])])) from None

    def _without_trials(self, app_id: str) -> list[T]:
        """End a trial that an interruption has left, and return the instances."""
        found = self._found(app_id)
        self._end([one for one in found if one.number == _TRIAL], now=True)
        return [one for one in found if one.number != _TRIAL]

    def _forget_left(self) -> None:
        """Remove what trials have left whose command was killed."""
        for one in self._found():
            if one.number == _TRIAL and one.ended_ago_s() > _LEFT_S:
                with suppress(ClusterError), self._alone(one.app.id):
                    one.remove()

    def _let_finish(self, grace_s: dict[T, int]) -> None:
        wait = LongWait(self._say)
        while left := [one for one in grace_s if one.still_runs() and wait.passed_s < grace_s[one]]:
            names, longest_s = ", ".join(one.name for one in left), max(grace_s[one] for one in left)
            wait.tell(f"waiting for {names} to finish, {longest_s} s at most (--now does not wait)")
            time.sleep(POLL_S)

    def _instances(self, app_id: str = "") -> list[T]:
        """Return the instances of an app, or of all, without a trial that an interruption has left."""
        return [one for one in self._found(app_id) if one.number != _TRIAL]

    def _status_of(self, app: AppSpec) -> AppStatus:
        found = self._instances(app.id)
        return _status_of(dict(zip(found, _seen(found), strict=True))) if found else AppStatus(app, ())

    def _refuse_used_ports(self, app: AppSpec, ours: Set[int]) -> None:
        """Refuse fixed ports that something listens on, unless they are `ours`: the deploy ends what holds them."""
        for port in app.ports:
            if port.host and port.host not in ours and "tcp" in port.protocol and not port_is_free(port.host):
                by = port_holder(port.host) or "another program (as root, ss -ltnp shows which)"
                raise ClusterError(
                    f"deploy {app.id}: port {port.host} of this machine is in use by {by}: "
                    "stop it, or set another port in invoke.yaml"
                )

    def _reader(self, app: AppSpec, file: SecretFile) -> int:
        """Return the number of the user as whom the app runs, who reads its secret files."""
        return os.getuid()

    def _errors(self, doing: str) -> AbstractContextManager[None]:
        """Turn errors of a library into expected ones."""
        return nullcontext()

    def _alone(self, app_id: str) -> AbstractContextManager[None]:
        """Keep two deploys of an app apart."""
        return nullcontext()

    @abstractmethod
    def image(self, tag: str) -> Image:
        """Return the image of this tag as apps name it here."""

    @abstractmethod
    def _found(self, app_id: str = "") -> list[T]:
        """Return the instances of an app of this project, or of all; by app and number."""

    @abstractmethod
    def _what_to_make(self, app: AppSpec, number: int, host_ports: tuple[int, ...]) -> dict[str, Any]:
        """Return what an instance is made from, as JSON."""

    @abstractmethod
    def _refuse_foreign(self, app: AppSpec, prepared: dict[str, dict[str, Any]]) -> None:
        """Refuse names that something else has already."""

    @abstractmethod
    def _get_ready(self, app: AppSpec) -> None:
        """Bring here what instances are made from."""

    @abstractmethod
    def _start(self, app: AppSpec, name: str, what: dict[str, Any], is_followed: bool) -> T:
        """Make and start an instance."""

    @abstractmethod
    def _follow(self, found: Sequence[T], tail: int, wanted: Wanted) -> Iterator[str]:
        """Yield the last of their wanted lines and those to come, each beginning with the instance's name."""

    @abstractmethod
    def _delete_data(self, app_id: str) -> list[str]:
        """Delete data that nothing uses."""


@contextmanager
def _undoable() -> Iterator[None]:
    """Make failures of a change that has begun such as can be undone, but for those that are someone else's doing."""
    try:
        yield
    except ServiceAway as away:
        raise ServiceAway(f"{away}; run this again to go on") from away
    except (Interrupted, Overtaken):
        raise
    except ClusterError as error:
        raise ChangeFailed(error.message, error.lines) from error


@contextmanager
def _explained_when_interrupted(old: Sequence[MachineInstance], there: Sequence[MachineInstance]) -> Iterator[None]:
    """Say at an interruption what became of the old instances, which are there of those that shall be, and what next.

    `there` grows while new ones are started.
    """
    try:
        yield
    except (Interrupted, KeyboardInterrupt) as interrupt:
        before = ["interrupted", "the old instances have ended"] if old else ["interrupted"]
        words = [str(interrupt)] if isinstance(interrupt, Interrupted) else before
        words += [f"now there: {_names(there)}" if there else "nothing new was started"]
        raise Interrupted("; ".join([*words, "run this again to go on"])) from None


def _names(instances: Iterable[MachineInstance]) -> str:
    return ", ".join(sorted(one.name for one in instances))


def _there(found: Sequence[T]) -> Sequence[T]:
    """Return the instances that run, or where none runs, all."""
    return [one for one in found if one.runs] or found


def _present(found: Sequence[MachineInstance]) -> AppSpec | None:
    there = _there(found)
    return replace(there[0].made_from(), instances=len(there)) if there else None


def _status_of(seen: Mapping[T, Instance]) -> AppStatus:
    """Return the status of an app by its instances, of which there is one at least."""
    there = _there(list(seen))
    return AppStatus(replace(there[0].app, instances=len(there)), tuple(seen.values()))


def _seen(found: Sequence[MachineInstance]) -> list[Instance]:
    """Return instances as people see them, several looked at at once, since health checks may take their time."""
    if len(found) < 2:
        return [one.seen() for one in found]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_LOOKED_AT_AT_ONCE) as pool:
        return list(pool.map(lambda one: one.seen(), found))
