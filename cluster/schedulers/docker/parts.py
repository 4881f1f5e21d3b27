"""The parts of an app definition in the Docker Engine's terms: volumes, ports, network, health check, labels.

Each function makes a part of the body of the Engine's "create a container"; docker_parameters.py does the same for the
options of `docker run` that a definition can carry.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.apps.definitions import digest
from cluster.schedulers import App
from cluster.schedulers.docker.parameters import translate
from cluster.schedulers.instances import LOCALHOST, environment, instance_name, kill_grace_s, ports_of
from scripts.errors import ClusterError

PROJECT, APP, NUMBER, DEFINITION = "cluster.project", "cluster.app", "cluster.instance", "cluster.definition"
SOURCE = "cluster.source"  # the label with the whole definition, which scale and restart run again
PORTS = "cluster.ports"  # the label with the chosen host ports, in the definition's order

# With a pause that doubles from 0.1 s to a minute. An engine that comes back after a crash ends what still runs, and
# takes that for a person's wish: `unless-stopped` would leave it so. What we stop ourselves loses this policy first.
RESTARTS = {"Name": "always"}

# How long the engine itself waits when it ends, or finds what a crash of its own has left. systemd grants dockerd 90 s.
_ENGINE_WAITS_S = 60

MIB, SECOND_NS = 2**20, 10**9

# What Marathon assumes where a health check is silent.
CHECK_DEFAULTS = {"gracePeriodSeconds": 300, "intervalSeconds": 60, "timeoutSeconds": 20, "maxConsecutiveFailures": 3}

_DATA = re.compile(r"/var/lib/cluster/([A-Za-z0-9][A-Za-z0-9_.-]*)")

Body = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """One instance that is to be: the app, its project and number, and the host ports chosen for it.

    On a host of the cluster (`on_host`) its ports are open to the network, and its data is in the very folder that the
    definition names; on this machine they are for this machine alone, and a Docker volume.
    """

    app: App
    project: str
    number: int
    host_ports: tuple[int, ...] = ()
    on_host: bool = False

    @property
    def name(self) -> str:
        """The container's name."""
        return instance_name(self.project, self.app.id, self.number)


def at(path: str, value: Any) -> Body:
    """`{"HostConfig": {"Init": value}}` for HostConfig.Init."""
    first, _, rest = path.partition(".")
    return {first: at(rest, value) if rest else value}


def merged(one: Body, other: Body) -> Body:
    """Both; objects join, lists follow each other, and otherwise the second wins."""
    result = dict(one)
    for key, value in other.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            result[key] = merged(old, value)
        else:
            result[key] = [*old, *value] if isinstance(old, list) and isinstance(value, list) else value
    return result


def every_instance(task: Task) -> Body:
    """What each container gets: its environment, a new start after it ends (as Marathon does), logs that stay small."""
    return {
        "Env": [f"{name}={value}" for name, value in environment(task.app, task.name, task.host_ports).items()],
        "StopTimeout": min(kill_grace_s(task.app.definition), _ENGINE_WAITS_S),
        "HostConfig": {
            "RestartPolicy": RESTARTS,
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
        },
    }


def labels(task: Task) -> dict[str, str]:
    """By what a container is known as ours, and what is needed to make it again."""
    return {
        PROJECT: task.project,
        APP: task.app.id,
        NUMBER: str(task.number),
        DEFINITION: digest(task.app.definition),
        SOURCE: json.dumps(task.app.definition),
        PORTS: ",".join(map(str, task.host_ports)),
    }


def command(cmd: str, task: Task) -> Body:
    """A shell in place of the image's entry point, as Mesos does."""
    return {"Entrypoint": ["/bin/sh"], "Cmd": ["-c", cmd]}


def volumes(wanted: Sequence[Mapping[str, Any]], task: Task) -> Body:
    """Data of the app as named volumes, any other folder mounted as it is."""
    return at("HostConfig.Mounts", [_mount(volume, task) for volume in wanted])


def _mount(volume: Mapping[str, Any], task: Task) -> Body:
    mount = {"Target": volume["containerPath"], "ReadOnly": volume.get("mode") == "RO"}
    path = volume["hostPath"]
    name = "" if task.on_host else data_name(path)
    if name:
        owner = {"Labels": {PROJECT: task.project, APP: task.app.id}}
        return mount | {"Type": "volume", "Source": f"{task.project}-{name}", "VolumeOptions": owner}
    if not path.startswith("/"):
        raise ClusterError(f"{task.app.id}: hostPath {path!r} is not absolute: begin it with /")
    return mount | {"Type": "bind", "Source": path}


def data_name(host_path: str) -> str:
    """`amqp` for `/var/lib/cluster/amqp`, the data of an app; empty for any other folder."""
    match = _DATA.fullmatch(host_path)
    return match[1] if match else ""


def ports(mappings: Sequence[Mapping[str, Any]], task: Task) -> Body:
    """Published on 127.0.0.1 alone, on a host of the cluster on all its addresses."""
    exposed: Body = {}
    bindings: Body = {}
    for port, host_port in zip(ports_of({"container": {"portMappings": mappings}}), task.host_ports, strict=True):
        for protocol in port.protocol.split(","):
            key = f"{port.container or host_port}/{protocol}"
            exposed[key] = {}
            bindings[key] = [{"HostIp": "" if task.on_host else LOCALHOST, "HostPort": str(host_port)}]
    return {"ExposedPorts": exposed, "HostConfig": {"PortBindings": bindings}}


def network(networks: Sequence[Mapping[str, Any]], task: Task) -> Body:
    """Return the host's own network, with its users, or Docker's bridge."""
    if len(networks) != 1:
        raise ClusterError(f"{task.app.id}: networks has {len(networks)} entries: give one, host or container/bridge")
    definition, host = task.app.definition, networks[0]["mode"] == "host"
    if host and (definition.get("container") or {}).get("portMappings"):
        raise ClusterError(f"{task.app.id}: portMappings cannot be used on the host's network; write portDefinitions")
    if not host and definition.get("portDefinitions"):
        raise ClusterError(f"{task.app.id}: portDefinitions are for the host's network; write container.portMappings")
    # An engine that maps its containers' users to others (userns-remap) gives the host's network to none of these.
    return {"HostConfig": {"NetworkMode": "host", "UsernsMode": "host"} if host else {"NetworkMode": "bridge"}}


def health(checks: Sequence[Mapping[str, Any]], task: Task) -> Body:
    """The health check that Docker runs; times in nanoseconds."""
    if len(checks) > 1:
        raise ClusterError(f"{task.app.id}: {len(checks)} healthChecks: a container has one")
    if not checks:
        return {}
    wanted = {**CHECK_DEFAULTS, **checks[0]}
    translated = {
        "Test": ["CMD-SHELL", wanted["command"]["value"]],
        "Interval": int(wanted["intervalSeconds"] * SECOND_NS),
        "Timeout": int(wanted["timeoutSeconds"] * SECOND_NS),
        "StartPeriod": int(wanted["gracePeriodSeconds"] * SECOND_NS),
        "Retries": max(1, wanted["maxConsecutiveFailures"]),
    }
    return at("Healthcheck", translated)


def parameters(wanted: Sequence[Mapping[str, str]], task: Task) -> Body:
    """Options of `docker run`."""
    body: Body = {}
    for parameter in wanted:
        body = merged(body, at(*translate(parameter["key"], parameter["value"], task.app.id)))
    return body
