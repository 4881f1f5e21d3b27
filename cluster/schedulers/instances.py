"""Instances of apps on one machine: their names, ports and environment, and what a deploy does to them."""

from __future__ import annotations

import json
import random
import re
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass

from cluster.apps import definitions
from cluster.apps.app import AppSpec, AppStatus, Kind, Port
from scripts.errors import ClusterError
from scripts.hostport import HostPort

LOCALHOST = "127.0.0.1"  # the only address that anything is published on

_CHOSEN_FROM = (20_000, 31_000)
_DATA = re.compile(r"/var/lib/cluster/([A-Za-z0-9][A-Za-z0-9_.-]*)")


@dataclass(frozen=True)
class Found:
    """An instance that is there; `as_wanted` says that it is alive and made from the app that is wanted."""

    number: int
    as_wanted: bool


@dataclass(frozen=True)
class Steps:
    """The numbers of the instances that a deploy stops, makes and keeps."""

    stop: tuple[int, ...]
    create: tuple[int, ...]
    keep: tuple[int, ...]

    @property
    def kind(self) -> Kind:
        """The name of it for people."""
        if not self.stop and not self.create:
            return "nothing"
        if not self.stop and not self.keep:
            return "create"
        return "replace" if set(self.stop) & set(self.create) else "scale"


def decide(instances: int, found: Iterable[Found]) -> Steps:
    """Keep the instances 1 to `instances` that are as wanted, and make the others anew."""
    there = {one.number: one.as_wanted for one in found}
    keep = tuple(number for number in range(1, instances + 1) if there.get(number))
    return Steps(
        stop=tuple(number for number in sorted(there) if number not in keep),
        create=tuple(number for number in range(1, instances + 1) if number not in keep),
        keep=keep,
    )


def kept_app(text: str) -> AppSpec:
    """Read the app that an instance was made from, as JSON; earlier versions of this project kept Marathon's."""
    found = json.loads(text)
    return AppSpec.from_json(found) if "mem_mib" in found else definitions.read(found)


def check_instances(app: AppSpec) -> None:
    """Refuse a number of instances that cannot be.

    Raises:
        ClusterError: none at all, or several that would share a fixed port.
    """
    if app.instances < 1:
        raise ClusterError(f"{app.id}: instances is {app.instances}: give 1 or more; stopping an app is a command")
    fixed = [port.host for port in app.ports if port.host]
    if app.instances > 1 and fixed:
        raise ClusterError(
            f"{app.id}: {app.instances} instances cannot share port {fixed[0]} of this machine; "
            "run 1, or set its hostPort to 0 for any free port"
        )


def instance_name(project: str, app_id: str, number: int) -> str:
    """Return `cluster-group-amqp-1` for instance 1 of /group/amqp: the name of a container."""
    return f"{project}{app_id.replace('/', '-')}-{number}"


def data_name(host_path: str) -> str:
    """Return `amqp` for `/var/lib/cluster/amqp`, the data of an app; empty for any other folder."""
    match = _DATA.fullmatch(host_path)
    return match[1] if match else ""


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


def refuse_used_ports(app_id: str, ports: Sequence[Port], ours: Set[int], holder: Callable[[int], str]) -> None:
    """Refuse fixed ports that something listens on, unless they are `ours`: the deploy ends what holds them.

    Raises:
        ClusterError: a port is in use; `holder` says by whom.
    """
    for port in ports:
        if port.host and port.host not in ours and "tcp" in port.protocol and not port_is_free(port.host):
            by = holder(port.host) or "another program (as root, ss -ltnp shows which)"
            raise ClusterError(
                f"deploy {app_id}: port {port.host} of this machine is in use by {by}: "
                "stop it, or set another port in invoke.yaml"
            )


def addresses(ports: Sequence[Port], host_ports: Sequence[int]) -> dict[str, HostPort]:
    """Return the addresses by the ports' names; a port without a name is called by its place: `0`, `1`."""
    return {
        port.name or str(index): HostPort(LOCALHOST, chosen)
        for index, (port, chosen) in enumerate(zip(ports, host_ports, strict=True))
    }


def environment(
    app: AppSpec, name: str, host_ports: Sequence[int], secret_places: Mapping[str, str]
) -> dict[str, str]:  # fmt: skip
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


def address(app: AppStatus, port_name: str = "") -> HostPort:
    """Return the address of a port of a running instance: the named one, else the first.

    Raises:
        ClusterError: nothing runs, or there is no such port.
    """
    running = [instance for instance in app.instances if instance.state == "running"]
    if not running:
        raise ClusterError(f"{app.id} does not run here: ./inv status shows what does")
    ports = running[0].ports
    if not ports:
        raise ClusterError(f"{app.id} has no ports")
    if port_name and port_name not in ports:
        raise ClusterError(f"{app.id} has no port {port_name!r}; those are {', '.join(ports)}")
    return ports[port_name] if port_name else next(iter(ports.values()))
