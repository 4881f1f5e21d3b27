"""The choice of an engine: by flags, else by invoke.yaml, else this machine's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from cluster.schedulers import Say, Scheduler
from cluster.settings import Settings
from scripts.errors import ClusterError, ServiceAway

if TYPE_CHECKING:
    from cluster.hosts.remote import Remote


@dataclass(frozen=True)
class Engine:
    """A line of the table: the module with the engine's `make`, and what has to be known before it is made.

    `make(settings, address, say)` returns the Scheduler. `setting` is the key of invoke.yaml with its usual address,
    `has_images` says that apps run in containers.
    """

    module: str
    is_here: bool = False
    setting: str = ""
    has_images: bool = True


SCHEDULERS: Mapping[str, Engine] = {
    "local": Engine("cluster.schedulers.docker.scheduler", is_here=True),
    "process": Engine("cluster.schedulers.process.scheduler", is_here=True, has_images=False),
    "marathon": Engine("cluster.schedulers.marathon.scheduler", setting="marathon"),
}

LOCAL, PROCESS = "local", "process"
_SHORT = "marathon"  # -m HOST:PORT is short for --at marathon:HOST:PORT


@dataclass(frozen=True)
class Where:
    """An engine by its name in SCHEDULERS, and its address."""

    name: str
    address: str = ""

    def __str__(self) -> str:
        return f"{self.name}:{self.address}" if self.address else self.name

    @property
    def is_here(self) -> bool:
        """True where its apps run on this machine."""
        return SCHEDULERS[self.name].is_here

    @classmethod
    def parse(cls, text: str) -> Where:
        """Read ENGINE[:ADDRESS]; the address begins after the first colon."""
        name, _, address = text.partition(":")
        if name not in SCHEDULERS:
            raise ClusterError(f"--at {text}: there is no engine {name!r}; those are {', '.join(SCHEDULERS)}")
        if address and SCHEDULERS[name].is_here:
            raise ClusterError(f"--at {text}: {name} is this machine and has no address: write --at {name}")
        return cls(name, address)


def where(settings: Settings, at: str = "", marathon: str = "") -> Where:
    """Return the engine that flags mean, else that of `scheduler:` in invoke.yaml.

    `at` is ENGINE[:ADDRESS]; `marathon`, HOST:PORT[,HOST:PORT], is short for marathon:HOST:PORT.
    """
    found = _given(at, marathon) or Where(settings.scheduler)
    setting = SCHEDULERS[found.name].setting
    if not setting or found.address:
        return found
    address = getattr(settings, setting)
    if not address:
        short = "-m HOST:PORT" if found.name == _SHORT else f"--at {found.name}:ADDRESS"
        raise ClusterError(f"where {found.name} is is not said: give {short}, or set {setting}: in invoke.yaml")
    return Where(found.name, address)


def _given(at: str, marathon: str) -> Where | None:
    found = Where.parse(at) if at else None
    if found and marathon and (found.name != _SHORT or found.address not in ("", marathon)):
        raise ClusterError(f"--at {at} and -m {marathon} say two things: give one of them")
    return Where(_SHORT, marathon) if marathon else found


def here(settings: Settings, at: str = "") -> Where:
    """Return the engine of this machine that --at names, else invoke.yaml, else `local`."""
    if not at:
        return Where(settings.scheduler if SCHEDULERS[settings.scheduler].is_here else LOCAL)
    found = Where.parse(at)
    if not found.is_here:
        raise ClusterError(f"--at {at}: run-local runs on this machine: use deploy, or leave --at out")
    return found


def elsewhere(settings: Settings, at: str = "", marathon: str = "") -> Where:
    """Return the engine that a deploy goes to: this machine's only where that is said, and no Marathon is."""
    if at or marathon or not SCHEDULERS[settings.scheduler].is_here:
        return where(settings, at, marathon)
    if settings.marathon:
        return Where(_SHORT, settings.marathon)
    if settings.scheduler == LOCAL:
        raise ClusterError(
            "where to deploy is not said: give --at ENGINE[:ADDRESS] or -m HOST:PORT, or set marathon: or scheduler: "
            "in invoke.yaml; run-local runs on this machine"
        )
    return where(settings)


def scheduler(settings: Settings, found: Where, say: Say) -> Scheduler:
    """Return the engine itself; raises ServiceAway where it is not there."""
    module: Any = import_module(SCHEDULERS[found.name].module)  # only now, since it takes its time
    return cast(Scheduler, module.make(settings, found.address, say))


def local(settings: Settings, say: Say) -> Scheduler:
    """Return the engine of this machine that runs containers; raises as `scheduler`."""
    return scheduler(settings, Where(LOCAL), say)


def on_host(settings: Settings, remote: Remote, say: Say) -> Scheduler:
    """Return the engine that runs containers on a host, for what runs there without a cluster's scheduler."""
    from cluster.schedulers.docker.on_host import HostEngine

    return HostEngine(settings, remote, say)


def provide(settings: Settings, say: Say, *, containers: bool = True) -> Scheduler:
    """Return an engine of this machine for whoever begins with nothing, installed where that may be done.

    It runs containers where that can be and is wanted, else processes; raises ServiceAway where neither can run here.
    """
    from cluster import engine
    from cluster.schedulers.process import rabbitmq

    if containers and settings.scheduler != PROCESS:
        try:
            engine.ensure(say)
        except ServiceAway as error:
            say(f"{error}\nso this runs without containers, as plain processes")
        else:
            return local(settings, say)
    rabbitmq.ensure_installed(say)
    return scheduler(settings, Where(PROCESS), say)


def candidates(settings: Settings, at: str, marathon: str, say: Say) -> Sequence[Scheduler]:
    """Return the engines whose apps are meant: the one that is named, else all of this machine.

    Where the Docker Engine should be there, such as that of DOCKER_HOST, and does not let this user in, `say` hears so.
    """
    found = where(settings, at, marathon)
    if at or not found.is_here:
        return [scheduler(settings, found, say)]
    return of_this_machine(settings, say)


def of_this_machine(settings: Settings, say: Say) -> Sequence[Scheduler]:
    """Return all engines that may have something running here."""
    from cluster.engine import NoEngine, OtherMachine

    found = []
    for name, engine in SCHEDULERS.items():
        try:
            found += [scheduler(settings, Where(name), say)] if engine.is_here else []
        except (ServiceAway, OtherMachine) as error:
            if settings.scheduler == name and not isinstance(error, NoEngine):
                say(f"not looked for in containers: {error}")
    return found


def running(engines: Sequence[Scheduler], app_id: str) -> Scheduler:
    """Return the engine under which an app runs; a single one is taken as it is."""
    if len(engines) == 1:
        return engines[0]
    for engine in engines:
        if app_id in [app.id for app in engine.status()]:
            return engine
    raise ClusterError(f"{app_id} does not run here: `./inv status` shows what does")


def flag(engine: Scheduler) -> str:
    """Return the flag that means this engine, for a command line that is suggested; with a blank before, or empty."""
    if engine.name == _SHORT:
        return f" -m {engine.address.replace(' ', '')}"
    return f" --at {engine.name}:{engine.address}" if engine.address else ""
