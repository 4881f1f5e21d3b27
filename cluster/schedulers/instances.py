"""Instances of apps on one machine: the steps of a deploy to them, their names, ports, environment and secret files."""

from __future__ import annotations

import json
import os
import random
import re
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from cluster import credentials
from cluster.apps import definitions
from cluster.apps.app import AppSpec, Instance, Kind, Port, State
from cluster.credentials import SecretFile
from cluster.schedulers import Wanted, every_line
from scripts.errors import ClusterError
from scripts.hostport import HostPort

LOCALHOST = "127.0.0.1"  # the only address that anything is published on

_CHOSEN_FROM = (20_000, 31_000)


def choose_ports(ports: Sequence[Port], instances: int = 1) -> list[tuple[int, ...]]:
    """Return host ports for each instance: the fixed ones, else such as are free on 127.0.0.1 now, all different."""
    with ExitStack() as until_all_are_chosen:
        return [tuple(port.host or _free_port(until_all_are_chosen) for port in ports) for _ in range(instances)]


def _free_port(stack: ExitStack) -> int:
    """Return a port that no connection of this machine takes until the app listens: those are from 32768 on."""
    while True:
        port = random.randrange(*_CHOSEN_FROM)
        try:
            stack.enter_context(socket.socket()).bind((LOCALHOST, port))
        except OSError:
            continue
        return port


def port_is_free(port: int) -> bool:
    """Return True when a server could listen on this TCP port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a closed connection's TIME_WAIT is no server
        try:
            probe.bind((LOCALHOST, port))
        except OSError:
            return False
        return True


def addresses(ports: Sequence[Port], host_ports: Sequence[int]) -> dict[str, HostPort]:
    """Return the addresses by the ports' names; a port without a name is called by its place: `0`, `1`."""
    names = [port.name or str(index) for index, port in enumerate(ports)]
    return {name: HostPort(LOCALHOST, chosen) for name, chosen in zip(names, host_ports, strict=True)}


_DATA = re.compile(r"/var/lib/cluster/([A-Za-z0-9][A-Za-z0-9_.-]*)")


class NotUp(ClusterError):
    """An instance has ended or is late; `lines` are the last that it printed."""


class MachineInstance(ABC):
    """A copy of an app that is started and ended by itself: a container or a process, as it was when it was found."""

    app: AppSpec
    name: str
    number: int
    host_ports: tuple[int, ...]
    image = ""
    sources = ""

    @property
    @abstractmethod
    def runs(self) -> bool:
        """True while its program runs."""

    @property
    @abstractmethod
    def started_at(self) -> float:
        """The start of its program, in seconds since 1970; without meaning when it does not run."""

    def still_runs(self) -> bool:
        """Return True while its program runs, having looked anew."""
        return self.runs

    def made_from(self) -> AppSpec:
        """Return its app, the image by content where the name may mean another."""
        return self.app

    def is_made_from(self, app: AppSpec) -> bool:
        """Return True when it is as this app wants it, however many there are."""
        return replace(self.app, image="").digest == replace(app, image="").digest

    def seen(self) -> Instance:
        """Return it as people see it."""
        state, detail = self.state()
        ports = addresses(self.app.ports, self.host_ports)
        started_at = self.started_at if self.runs else None
        return Instance(self.name, state, self.image, ports, detail, started_at, self.sources)

    @abstractmethod
    def state(self) -> tuple[State, str]:
        """Return its state now, and words about it."""

    @abstractmethod
    def exit_code(self) -> int:
        """Return the exit code of its program, which has ended."""

    @abstractmethod
    def ended_ago_s(self) -> float:
        """Return how many seconds ago its program has ended; 0 while it runs, or where it never did."""

    @abstractmethod
    def works(self) -> bool:
        """Return True when its health check succeeds, or without one when it has run for a second.

        Raises:
            NotUp: its program has ended.
        """

    def late(self, timeout_s: float) -> NotUp:
        """Return the error of one that does not work in time; it is left running."""
        said = self.check_output()
        says = f" (its health check says: {said})" if said else ""
        return NotUp(f"{self.name} does not work after {timeout_s:g} s{says} and is left running", self.last_lines(10))

    @abstractmethod
    def check_output(self) -> str:
        """Return the first line that its health check printed."""

    @abstractmethod
    def last_lines(self, count: int, wanted: Wanted = every_line) -> list[str]:
        """Return the last of the `wanted` lines that it printed."""

    @abstractmethod
    def ask_to_stop(self) -> None:
        """Ask its program to come to an end."""

    @abstractmethod
    def remove(self) -> None:
        """End it and forget it; its data stays."""


@dataclass(frozen=True)
class Steps:
    """The numbers of the instances that a deploy stops, makes and keeps."""

    stop: tuple[int, ...]
    create: tuple[int, ...]
    keep: tuple[int, ...]

    @property
    def kind(self) -> Kind:
        """The kind of change that they are."""
        if not self.stop and not self.create:
            return "nothing"
        if not self.stop and not self.keep:
            return "create"
        return "replace" if self.stop and self.create else "scale"


def decide(app: AppSpec, found: Mapping[int, bool]) -> Steps:
    """Keep the instances of an app that are as wanted (by their numbers), and make the others anew."""
    if app.instances < 1:
        raise ClusterError(f"{app.id}: instances is {app.instances}: give 1 or more; stopping an app is a command")
    fixed = [port.host for port in app.ports if port.host]
    if app.instances > 1 and fixed:
        raise ClusterError(
            f"{app.id}: {app.instances} instances cannot share port {fixed[0]} of this machine; "
            "run 1, or set its hostPort to 0 for any free port"
        )
    wanted = range(1, app.instances + 1)
    keep = tuple(number for number in wanted if found.get(number))
    return Steps(
        stop=tuple(number for number in sorted(found) if number not in keep),
        create=tuple(number for number in wanted if number not in keep),
        keep=keep,
    )


def kept_app(text: str) -> AppSpec:
    """Read the app that an instance was made from, as JSON; earlier versions of this project kept Marathon's."""
    found = json.loads(text)
    return AppSpec.from_json(found) if "mem_mib" in found else definitions.read(found)


def instance_name(project: str, app_id: str, number: int) -> str:
    """Return `cluster-group-amqp-1` for instance 1 of /group/amqp: the name of a container."""
    return f"{project}{app_id.replace('/', '-')}-{number}"


def data_name(host_path: str) -> str:
    """Return `amqp` for `/var/lib/cluster/amqp`, the data of an app; empty for any other folder."""
    match = _DATA.fullmatch(host_path)
    return match[1] if match else ""


def is_rabbitmq(app: AppSpec) -> bool:
    """Return True when the app is RabbitMQ."""
    return bool(re.search(r"\brabbitmq-server\b", app.command))


def environment(app: AppSpec, name: str, host_ports: Sequence[int], secret_places: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of an instance, as Marathon makes it; what the app says wins over that.

    Of Marathon's variables these: where the app can be reached (HOST, PORT*), which app and image it is, and the
    name of the instance as MESOS_TASK_ID, since on the host's own network a hostname does not tell instances apart.
    The others are about Mesos' sandbox, offers and roles, which one machine has not.
    """
    env = {"HOST": LOCALHOST, "MARATHON_APP_ID": app.id, "MESOS_TASK_ID": name}
    if app.image:
        env["MARATHON_APP_DOCKER_IMAGE"] = app.image
    for index, (port, chosen) in enumerate(zip(app.ports, host_ports, strict=True)):
        env[f"PORT{index}"] = env[f"PORT_{port.container or port.host or chosen}"] = str(chosen)
        if port.name:
            env[f"PORT_{port.name.upper()}"] = str(chosen)
    if app.ports:
        env |= {"PORT": env["PORT0"], "PORTS": ",".join(map(str, host_ports))}
    return {**env, **app.env, **secret_places}


_IN_CONTAINERS = "/run/secrets"


def secret_path(project: str, file: SecretFile) -> Path:
    """Return the place of a file on this machine."""
    return credentials.SECRETS / f"{project}-{file.group}-{file.name}"


def secret_path_in_container(file: SecretFile) -> str:
    """Return the place where a container sees a file: the folder that has it here is closed to the container's user."""
    return f"{file.folder or _IN_CONTAINERS}/{file.name}"


def write_secrets(project: str, files: Iterable[SecretFile], reader: Callable[[SecretFile], int]) -> None:
    """Write those files that have content into the very files that containers have mounted already.

    `reader` returns the number of the user to whom root gives a file.
    """
    for file in files:
        if not file.content:
            continue
        path = secret_path(project, file)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(file.content)
        if os.getuid() == 0:
            os.chown(path, reader(file), -1)
