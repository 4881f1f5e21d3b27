"""The choice of an engine: by flags, else by invoke.yaml, else this machine's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from cluster.schedulers import NotRunning, Say, Scheduler
from cluster.settings import Settings
from scripts.errors import ClusterError, ServiceAway

if TYPE_CHECKING:
    from cluster.hosts.remote import Remote


@dataclass(frozen=True)
class Engine:
    """A line of the table: the module and the name of an engine's class, which is loaded when it is needed.

    `address_key` is the key of invoke.yaml with the engine's usual address, such as `engines.NAME.address`; an engine
    without one is this machine. Where it `needs_address`, an empty one is an error, else it is reached from here.
    """

    module: str
    kind: str
    address_key: str = ""
    needs_address: bool = True

    def load(self) -> Any:
        """Return the class; its `make(settings, address, say)` returns the engine."""
        return getattr(import_module(self.module), self.kind)


SCHEDULERS: Mapping[str, Engine] = {
    "local": Engine("cluster.schedulers.docker.scheduler", "Local"),
    "process": Engine("cluster.schedulers.process.scheduler", "Process"),
    "marathon": Engine("cluster.schedulers.marathon.scheduler", "Marathon", address_key="marathon"),
    "slurm": Engine("cluster.schedulers.slurm.scheduler", "Slurm", address_key="slurm.login", needs_address=False),
}

LOCAL, PROCESS = "local", "process"
_SHORT = "marathon"  # -m HOST:PORT is short for --at marathon:HOST:PORT


@dataclass(frozen=True)
class Choice:
    """An engine by its name in SCHEDULERS, and its address."""

    name: str
    address: str = ""

    def __str__(self) -> str:
        return f"{self.name}:{self.address}" if self.address else self.name

    @property
    def is_here(self) -> bool:
        """True for an engine of this machine."""
        return not SCHEDULERS[self.name].address_key

    @classmethod
    def parse(cls, text: str) -> Choice:
        """Read ENGINE[:ADDRESS]; the address begins after the first colon."""
        name, _, address = text.partition(":")
        if name not in SCHEDULERS:
            raise ClusterError(f"--at {text}: there is no engine {name!r}; those are {', '.join(SCHEDULERS)}")
        found = cls(name, address)
        if address and found.is_here:
            raise ClusterError(f"--at {text}: {name} is this machine and has no address: write --at {name}")
        return found


def chosen(settings: Settings, at: str = "", marathon: str = "") -> Choice:
    """Return the engine that flags mean, else that of `scheduler:` in invoke.yaml.

    `at` is ENGINE[:ADDRESS]; `marathon`, HOST:PORT[,HOST:PORT], is short for marathon:HOST:PORT.
    """
    found = _given(at, marathon) or Choice(settings.scheduler)
    if found.is_here or found.address:
        return found
    key = SCHEDULERS[found.name].address_key
    address: Any = settings
    for part in key.split("."):
        address = address.get(part, "") if isinstance(address, Mapping) else getattr(address, part)
    if not address and SCHEDULERS[found.name].needs_address:
        short = "-m HOST:PORT" if found.name == _SHORT else f"--at {found.name}:ADDRESS"
        raise ClusterError(f"where {found.name} is is not said: give {short}, or set {key}: in invoke.yaml")
    return Choice(found.name, address)


def usual_options(settings: Settings, name: str) -> dict[str, str]:
    """Return the options of an engine's block in invoke.yaml, without the key that is its address."""
    block, address_key = getattr(settings.engines, name), SCHEDULERS[name].address_key
    return {option: value for option, value in block.items() if f"engines.{name}.{option}" != address_key}


def _given(at: str, marathon: str) -> Choice | None:
    found = Choice.parse(at) if at else None
    if found and marathon and (found.name != _SHORT or found.address not in ("", marathon)):
        raise ClusterError(f"--at {at} and -m {marathon} say two things: give one of them")
    return Choice(_SHORT, marathon) if marathon else found


def chosen_to_run_local(settings: Settings, at: str = "") -> Choice:
    """Return the engine of this machine that --at names, else invoke.yaml, else `local`."""
    found = Choice.parse(at or settings.scheduler)
    if at and not found.is_here:
        raise ClusterError(f"--at {at}: run-local runs on this machine: use deploy, or leave --at out")
    return found if found.is_here else Choice(LOCAL)


def chosen_to_deploy(settings: Settings, at: str = "", marathon: str = "") -> Choice:
    """Return the engine that a deploy goes to: this machine's only where that is said, and no Marathon is."""
    usual = Choice(settings.scheduler)
    found = _given(at, marathon) or (Choice(_SHORT) if usual.is_here and settings.marathon else usual)
    if not at and found.name == LOCAL:
        raise ClusterError(
            "where to deploy is not said: give --at ENGINE[:ADDRESS] or -m HOST:PORT, or set marathon: or scheduler: "
            "in invoke.yaml; run-local runs on this machine"
        )
    return chosen(settings, str(found))


def connect(settings: Settings, choice: Choice, say: Say) -> Scheduler:
    """Return the engine itself; raises ServiceAway where it is not there."""
    return cast(Scheduler, SCHEDULERS[choice.name].load().make(settings, choice.address, say))


def local(settings: Settings, say: Say) -> Scheduler:
    """Return the engine of this machine that runs containers; raises as `connect`."""
    return connect(settings, Choice(LOCAL), say)


def on_host(settings: Settings, remote: Remote, say: Say) -> Scheduler:
    """Return the engine that runs containers on a host, for what runs there without a cluster's scheduler."""
    from cluster.schedulers.docker.on_host import HostEngine

    return HostEngine(settings, remote, say)


def provide(settings: Settings, say: Say, *, containers: bool = True) -> Scheduler:
    """Return an engine of this machine for whoever begins with nothing, installed where that may be done.

    It runs containers where that can be and is wanted, else processes; raises ServiceAway where neither can run here.
    """
    from cluster import engine
    from cluster.schedulers.process.scheduler import ensure_rabbitmq

    if containers and settings.scheduler != PROCESS:
        try:
            engine.ensure(say)
        except ServiceAway as error:
            say(f"{error}\nso this runs without containers, as plain processes")
        else:
            return local(settings, say)
    ensure_rabbitmq(say)
    return connect(settings, Choice(PROCESS), say)


def candidates(settings: Settings, at: str, marathon: str, say: Say) -> Sequence[Scheduler]:
    """Return the engines whose apps are meant: the one that is named, else all of this machine.

    Where the Docker Engine should be there, such as that of DOCKER_HOST, and does not let this user in, `say` hears so.
    """
    found = chosen(settings, at, marathon)
    if at or not found.is_here:
        return [connect(settings, found, say)]
    return of_this_machine(settings, say)


def of_this_machine(settings: Settings, say: Say) -> Sequence[Scheduler]:
    """Return all engines that may have something running here."""
    from cluster.engine import NoEngine, OtherMachine

    found = []
    for choice in filter(lambda choice: choice.is_here, map(Choice, SCHEDULERS)):
        try:
            found.append(connect(settings, choice, say))
        except (ServiceAway, OtherMachine) as error:
            if settings.scheduler == choice.name and not isinstance(error, NoEngine):
                say(f"not looked for in containers: {error}")
    return found


def running(engines: Sequence[Scheduler], app_id: str) -> Scheduler:
    """Return the engine under which an app runs, else the one that has what is left of it; a single one as it is."""
    if len(engines) == 1:
        return engines[0]
    there = [(engine, app) for engine in engines for app in engine.status() if app.id == app_id]
    if not there:
        raise NotRunning(app_id, *engines)
    return max(there, key=lambda one: any(instance.state != "stopped" for instance in one[1].instances))[0]
