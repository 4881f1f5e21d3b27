"""What the schedulers of one machine share: the names, ports and environment of an app's instances, and what a
deploy has to do."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from cluster.schedulers import App, AppStatus, Kind
from scripts.errors import ClusterError
from scripts.hostport import HostPort

LOCALHOST = "127.0.0.1"  # the only address that anything is published on

# The label that says how many seconds our own stop waits. What an engine or a cluster ends by itself has less: nothing
# may wait a week for an action, and its message comes back.
DRAIN = "drain"

_CHOSEN_FROM = (20_000, 31_000)


@dataclass(frozen=True)
class Port:
    """A port of a definition; `host` 0 means any free one, `container` 0 the same as on the host."""

    name: str
    container: int
    host: int
    protocol: str = "tcp"


@dataclass(frozen=True)
class Found:
    """An instance that is there, and whether it is as the definition says and alive."""

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
        """What to call it, for people."""
        if not self.stop and not self.create:
            return "nothing"
        if not self.stop and not self.keep:
            return "create"
        return "replace" if set(self.stop) & set(self.create) else "scale"


def decide(instances: int, found: Iterable[Found]) -> Steps:
    """What makes instances 1 to `instances` out of what is there: keep what is as wanted, make the others anew."""
    there = {one.number: one.as_wanted for one in found}
    keep = tuple(number for number in range(1, instances + 1) if there.get(number))
    return Steps(
        stop=tuple(number for number in sorted(there) if number not in keep),
        create=tuple(number for number in range(1, instances + 1) if number not in keep),
        keep=keep,
    )


def check_instances(app: App) -> None:
    """Refuse a number of instances that cannot be.

    Raises:
        ClusterError: none at all, or several that would share a fixed port.
    """
    if app.instances < 1:
        raise ClusterError(f"{app.id}: instances is {app.instances}: give 1 or more; stopping an app is a command")
    fixed = [port.host for port in ports_of(app.definition) if port.host]
    if app.instances > 1 and fixed:
        raise ClusterError(
            f"{app.id}: {app.instances} instances cannot share port {fixed[0]} of this machine; "
            "run 1, or set its hostPort to 0 for any free port"
        )


def instance_name(project: str, app_id: str, number: int) -> str:
    """`cluster-group-amqp-1` for instance 1 of /group/amqp: the name of a container."""
    return f"{project}{app_id.replace('/', '-')}-{number}"


def ports_of(definition: Mapping[str, Any]) -> tuple[Port, ...]:
    """The ports of a definition, in order: those of its container, or those it takes on the host's own network."""
    mappings = (definition.get("container") or {}).get("portMappings") or []
    declared = definition.get("portDefinitions") or []
    return (
        *(_port(port, port.get("containerPort"), port.get("hostPort")) for port in mappings),
        *(_port(port, None, port.get("port")) for port in declared),
    )


def _port(port: Mapping[str, Any], container: int | None, host: int | None) -> Port:
    return Port(port.get("name") or "", container or 0, host or 0, port.get("protocol") or "tcp")


def choose_ports(ports: Sequence[Port], instances: int = 1) -> list[tuple[int, ...]]:
    """Host ports for each instance: the fixed ones, else such that are free on 127.0.0.1 now, all different."""
    with ExitStack() as until_all_are_chosen:
        return [tuple(port.host or _free_port(until_all_are_chosen) for port in ports) for _ in range(instances)]


def _free_port(stack: ExitStack) -> int:
    """A port that no connection of this machine's takes until the app listens: the system gives those from 32768 on."""
    while True:
        port = random.randrange(*_CHOSEN_FROM)
        try:
            stack.enter_context(socket.socket()).bind((LOCALHOST, port))
        except OSError:
            continue
        return port


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this TCP port of 127.0.0.1 now."""
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


def named_ports(ports: Sequence[Port], host_ports: Sequence[int]) -> dict[str, int]:
    """The host ports by name; one without a name is called by its place: `0`, `1`."""
    return {port.name or str(index): chosen for index, (port, chosen) in enumerate(zip(ports, host_ports, strict=True))}


def environment(app: App, name: str, host_ports: Sequence[int]) -> dict[str, str]:
    """The environment of an instance, as Marathon makes it; what the definition says wins.

    Of Marathon's variables these: where the app can be reached (HOST, PORT*), which app and image it is, and the
    name of the instance as MESOS_TASK_ID, since on the host's own network a hostname does not tell instances apart.
    The others are about Mesos' sandbox, offers and roles, which one machine has not.
    """
    env = {"HOST": LOCALHOST, "MARATHON_APP_ID": app.id, "MESOS_TASK_ID": name}
    docker = (app.definition.get("container") or {}).get("docker") or {}
    if "image" in docker:
        env["MARATHON_APP_DOCKER_IMAGE"] = docker["image"]
    ports = ports_of(app.definition)
    for index, (port, chosen) in enumerate(zip(ports, host_ports, strict=True)):
        env[f"PORT{index}"] = env[f"PORT_{port.container or port.host or chosen}"] = str(chosen)
        if port.name:
            env[f"PORT_{port.name.upper()}"] = str(chosen)
    if ports:
        env |= {"PORT": env["PORT0"], "PORTS": ",".join(map(str, host_ports))}
    return env | (app.definition.get("env") or {})


def health_command(definition: Mapping[str, Any]) -> str:
    """The shell command that tells whether an instance works; empty where there is none."""
    checks = definition.get("healthChecks") or []
    return str(checks[0]["command"]["value"]) if checks else ""


def kill_grace_s(definition: Mapping[str, Any]) -> int:
    """How long what ends an instance waits for it, in seconds; Docker's own 10 where the definition does not say."""
    wanted = definition.get("taskKillGracePeriodSeconds")
    return 10 if wanted is None else int(wanted)


def grace_s(definition: Mapping[str, Any]) -> int:
    """How long our own stop waits for an instance, in seconds: the label `drain`, else as long as everyone."""
    drain = str((definition.get("labels") or {}).get(DRAIN, ""))
    return int(drain) if drain.isdecimal() else kill_grace_s(definition)


def address(app: AppStatus, port_name: str = "") -> HostPort:
    """The address of a port of a running instance: the named one, else the first.

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
