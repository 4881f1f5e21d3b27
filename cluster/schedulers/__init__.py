"""The engines that run apps: one interface, several engines.

`local` is the Docker Engine of this machine, `process` plain processes of this machine, `marathon` the agents of a
cluster, `slurm` the jobs of one. A folder here is an engine; a line in the table of `selection.py` makes it one of
those that `--at` knows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cluster.apps.traits import EngineTraits
from scripts.amqp.broker import without_login
from scripts.errors import ClusterError
from scripts.hostport import HostPort

if TYPE_CHECKING:
    from cluster.apps.app import AppSpec, AppStatus, Change, Image
    from cluster.credentials import SecretFile

Say = Callable[[str], None]
Wanted = Callable[[str], bool]


def every_line(_line: str) -> bool:
    """Want each line of a log."""
    return True


POLL_S = 0.2
SILENCE_S = 10.0  # a wait that is longer is told
FINISHING = "finishing its work"  # the words for an instance that is stopping
SETTLED_S = 1.0  # an app without a health check works when it has run so long


@dataclass(frozen=True)
class DeployOptions:
    """Choices of a deploy: past the locks and claims of others, waited for, for how long, and undone when it fails.

    With `drain` workers finish what they run first, as far as the engine lets them. With `is_undo` the change itself
    goes back after one that failed: to the app as it was, whosever it is, which gets the place of what failed. `idle`
    returns the names of instances that run nothing now: an engine with a choice ends those first.
    """

    force: bool = False
    wait: bool = True
    timeout_s: float = 600
    undo: bool = False
    drain: bool = True
    is_undo: bool = False
    idle: Callable[[], frozenset[str]] = frozenset


class ChangeFailed(ClusterError):
    """A change that an engine has taken on and that failed, and is still what is there: it can be undone."""


class Overtaken(ClusterError):
    """Someone else changes the app at the same time: what is there is not this change's, nor its to undo."""


@dataclass(frozen=True)
class BrokerLocation:
    """The way of a worker to its broker: the words of its command line, and what it needs for that.

    `url` is where the broker is, empty where workers ask an engine for it.
    """

    words: tuple[str, ...]
    url: str = field(default="", repr=False)
    env: Mapping[str, str] = field(default_factory=dict)
    secret_files: tuple[SecretFile, ...] = ()

    @classmethod
    def at(cls, url: str) -> BrokerLocation:
        """Return the way to the broker with this URL, whose login is not for the command line."""
        return cls(("-u", without_login(url)), url)


class Look(Protocol):
    """The looks of who has an app run once: `printed` gets its lines as they come, in a thread."""

    def printed(self, line: str) -> None:
        """Take a line that it printed."""

    def is_over(self) -> bool:
        """Return True when it may end; called again and again, it takes its time, some hundredths of a second."""


class Scheduler(EngineTraits, Protocol):
    """An engine that runs apps; all methods raise ClusterError for what it cannot do, ServiceAway where it is away.

    `name` is its name in SCHEDULERS, `place` is for people ("Marathon at 10.0.0.10:8080"), `flag` means it in a command
    line that is suggested (with a blank before; empty where none is needed). `has_hosts` says that `--on` can name a
    host, `caveat` (or nothing) what a person who starts an app should know, `options` which --engine-option it knows.
    `is_batch` says that instances wait for their turn, hold what they were given while they do nothing, and are not
    started again when their program has ended.
    """

    name: str
    place: str
    flag: str
    has_hosts: bool
    is_batch: bool
    caveat: str
    options: tuple[str, ...]

    def image(self, tag: str) -> Image:
        """Return the image of this tag as apps name it here; it can be run, or the error says why not."""

    def present(self, app_id: str) -> AppSpec | None:
        """Return the app, whosever it is, as so many instances of it as are there or wanted; None where there is none.

        Stopped instances count; `plan` and `stop` refuse what is not this project's.
        """

    def plan(self, app: AppSpec, options: DeployOptions = DeployOptions(), *, restart: bool = False) -> Change:
        """Return what `apply` would do to run the app in place of what runs under its id; change nothing.

        What would fail is refused here, as far as it can be known. With `restart` every instance is started anew.
        """

    def apply(self, change: Change, options: DeployOptions = DeployOptions()) -> AppStatus:
        """Make a change and return when all of it works, or with `wait=False` when the engine has taken it on.

        Secret files are put in place first. Old instances finish in their time before new ones take their ports and
        data. What does not come up within the time is an error with the last lines it printed, and says what runs now.
        A change that was interrupted is finished by the next.

        Raises:
            ChangeFailed: it was made, does not come up, and can be undone; after other errors there is nothing to undo.
        """

    def run_once(self, app: AppSpec, timeout_s: float = 60, look: Look | None = None) -> tuple[int, list[str]]:
        """Run the app's command as its instances would be run, beside those that run, until it ends, or `look` is over.

        Return its exit code, and the last lines that it printed (a busy engine loses some now and then). Nothing of it
        is left, whatever happens.
        """

    def stop(self, app_id: str, now: bool = False, drain: bool = True) -> bool:
        """Stop the app with all it has started and forget it, its data staying; False when there was none.

        Running actions have the app's `stop_grace_s` to finish, without `drain` its `kill_grace_s`; `now` grants none.
        """

    def status(self) -> list[AppStatus]:
        """Return all apps of this project, stopped instances included; nothing that someone else made."""

    def logs(self, app_id: str, tail: int = 100, follow: bool = False, wanted: Wanted = every_line) -> Iterator[str]:
        """Yield the last `tail` lines of every instance as `name: line`; with `follow` those to come, until all end.

        Only the `wanted` lines count.
        """

    def address_of(self, app_id: str, port_name: str = "") -> HostPort:
        """Return the address of a port of a running instance, as instances have it: the named one, else the first."""

    def delete_data(self, app_id: str) -> list[str]:
        """Delete the data of a stopped app, or with an empty id of all apps; return the names of what was deleted."""

    def history(self, app_id: str) -> Iterator[tuple[str, AppSpec]]:
        """Yield the versions of an app that the engine keeps, newest first; nothing where it keeps none."""

    def broker_for(self, queue_app: str) -> BrokerLocation:
        """Return how workers that run here find the queue that this app is."""

    def place_of(self, file: Path) -> str:
        """Return the path by which instances find a file of this machine; the next `apply` brings it there."""

    def reach(self, address: HostPort) -> HostPort:
        """Return the address by which this machine gets to one that instances have: the same, or that of a tunnel."""


class LongWait:
    """A wait that begins now, of which a person hears once when it is a long one."""

    def __init__(self, say: Say) -> None:
        self._say, self._began, self._is_said = say, time.monotonic(), False

    @property
    def passed_s(self) -> float:
        """The seconds since its beginning."""
        return time.monotonic() - self._began

    def tell(self, words: str) -> None:
        """Say what is waited for, if it is time to."""
        if not self._is_said and self.passed_s > SILENCE_S:
            self._say(words)
            self._is_said = True


class NotRunning(ClusterError):
    """An app that is looked for does not run on an engine, or on none of several of this machine."""

    def __init__(self, app_id: str, *engines: Scheduler) -> None:
        place, flag = ("this machine", "") if len(engines) > 1 else (engines[0].place, engines[0].flag)
        super().__init__(f"{app_id} does not run on {place}: ./inv status{flag} shows what does")
