"""The body of the Docker Engine's "create a container" for an instance of an app, made by pure functions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cluster.apps.app import AppSpec, HealthCheck, Volume
from cluster.engine import sdk
from cluster.schedulers.instances import (
    LOCALHOST,
    data_name,
    environment,
    instance_name,
    secret_path,
    secret_path_in_container,
)
from scripts.errors import ClusterError

Body = dict[str, Any]


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("write true or false")
    return text == "true"


def _size(text: str) -> int:
    size: int = sdk.utils.parse_bytes(text)
    if size < 0:
        raise ValueError("a size is 0 or more")
    return size


def _list(text: str) -> list[str]:
    return [text]


def _tmpfs(text: str) -> dict[str, str]:
    path, _, options = text.partition(":")
    return {path: options}


def _ulimit(text: str) -> list[dict[str, Any]]:
    name, _, limits = text.partition("=")
    soft, _, hard = limits.partition(":")
    return [{"Name": name, "Soft": int(soft), "Hard": int(hard or soft)}]


# `docker run --KEY=VALUE`: its place in the body of the Engine's "create a container", and its reader. A list or an
# object joins what the same place has already, so that these may be given several times.
OPTIONS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "add-host": ("HostConfig.ExtraHosts", _list),
    "cap-add": ("HostConfig.CapAdd", _list),
    "cap-drop": ("HostConfig.CapDrop", _list),
    "cpuset-cpus": ("HostConfig.CpusetCpus", str),
    "group-add": ("HostConfig.GroupAdd", _list),
    "hostname": ("Hostname", str),
    "init": ("HostConfig.Init", _boolean),
    "pids-limit": ("HostConfig.PidsLimit", int),
    "read-only": ("HostConfig.ReadonlyRootfs", _boolean),
    "security-opt": ("HostConfig.SecurityOpt", _list),
    "shm-size": ("HostConfig.ShmSize", _size),
    "tmpfs": ("HostConfig.Tmpfs", _tmpfs),
    "ulimit": ("HostConfig.Ulimits", _ulimit),
    "user": ("User", str),
}


def options_body(options: Iterable[tuple[str, str]], app_id: str) -> Body:
    """Return the part of a container's body that options make."""
    body: Body = {}
    for key, value in options:
        if key not in OPTIONS:
            raise ClusterError(
                f"{app_id}: the container option {key!r} is not known here; those are {', '.join(OPTIONS)}"
            )
        path, read = OPTIONS[key]
        try:
            body = merged(body, at(path, read(value)))
        except (ValueError, OverflowError, sdk.errors.DockerException) as error:
            raise ClusterError(f"{app_id}: the container option {key} is {value!r}: {error}") from error
    return body


def at(path: str, value: Any) -> Body:
    """Return `{"HostConfig": {"Init": value}}` for HostConfig.Init."""
    first, _, rest = path.partition(".")
    return {first: at(rest, value) if rest else value}


def merged(one: Body, other: Body) -> Body:
    """Return both; objects join, lists follow each other, and otherwise the second wins."""
    result = dict(one)
    for key, value in other.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            result[key] = merged(old, value)
        else:
            result[key] = [*old, *value] if isinstance(old, list) and isinstance(value, list) else value
    return result


PROJECT, APP, NUMBER = "cluster.project", "cluster.app", "cluster.instance"
SOURCE = "cluster.source"  # the label with the whole app, which scale and restart run again
PORTS = "cluster.ports"  # the label with the chosen host ports, in the app's order

# With a pause that doubles from 0.1 s to a minute. An engine that comes back after a crash ends what still runs, and
# takes that for a person's wish: `unless-stopped` would leave it so. What we stop ourselves loses this policy first.
RESTARTS = {"Name": "always"}

# How long the engine itself waits when it ends, or finds what a crash of its own has left. systemd grants dockerd 90 s.
_ENGINE_WAITS_S = 60

_MIB, _SECOND_NS = 2**20, 10**9


@dataclass(frozen=True)
class Task:
    """An instance that is to be: the app, its project and number, and the host ports chosen for it.

    On a host of the cluster (`on_host`) its ports are open to the network, and its data is in the very folder that the
    definition names; on this machine they are for this machine alone, and a Docker volume.
    """

    app: AppSpec
    project: str
    number: int
    host_ports: tuple[int, ...] = ()
    on_host: bool = False

    @property
    def name(self) -> str:
        """The container's name."""
        return instance_name(self.project, self.app.id, self.number)


def container_body(task: Task) -> Body:
    """Return what the Engine is asked for to make an instance.

    It starts anew after it ends, as under Marathon, and its logs stay small.
    """
    app = task.app
    places = {file.env: secret_path_in_container(file) for file in app.secret_files if file.env}
    if not app.image:
        raise ClusterError(f"{app.id}: the image is missing: write container.docker.image")
    body: Body = {
        "Image": app.image,
        "Env": [f"{name}={value}" for name, value in environment(app, task.name, task.host_ports, places).items()],
        "Labels": {**app.labels, **_labels(task)},
        "StopTimeout": min(app.kill_grace_s, _ENGINE_WAITS_S),
        "HostConfig": {
            "CpuShares": max(2, int(app.cpus * 1024)),  # Mesos' shares, and its least
            "Memory": max(32, int(app.mem_mib)) * _MIB,  # Mesos' least
            "RestartPolicy": RESTARTS,
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
        },
    }
    if app.command:
        body |= {"Entrypoint": ["/bin/sh"], "Cmd": ["-c", app.command]}  # as Mesos does
    if app.health:
        body |= {"Healthcheck": _health(app.health)}
    if mounts := list(_mounts(task)):
        body["HostConfig"] |= {"Mounts": mounts}
    body = merged(body, _host_network(app) if app.on_host_network else _bridge(task))
    return merged(body, options_body((*app.container_options, *app.engine_options), app.id))


def _labels(task: Task) -> dict[str, str]:
    """Return the labels by which a container is known as ours, and which are needed to make it again."""
    return {
        PROJECT: task.project,
        APP: task.app.id,
        NUMBER: str(task.number),
        SOURCE: json.dumps(task.app.as_json()),
        PORTS: ",".join(map(str, task.host_ports)),
    }


def _health(check: HealthCheck) -> Body:
    return {
        "Test": ["CMD-SHELL", check.command],
        "Interval": int(check.interval_s * _SECOND_NS),
        "Timeout": int(check.timeout_s * _SECOND_NS),
        "StartPeriod": int(check.grace_s * _SECOND_NS),
        "Retries": max(1, check.failures),
    }


def _mounts(task: Task) -> Iterator[Body]:
    for volume in task.app.volumes:
        yield _volume(volume, task)
    for file in task.app.secret_files:
        here, there = secret_path(task.project, file), secret_path_in_container(file)
        yield {"Target": there, "ReadOnly": True, "Type": "bind", "Source": str(here)}


def _volume(volume: Volume, task: Task) -> Body:
    """Return data of the app as a volume with a name, any other folder mounted as it is."""
    app, path = task.app, volume.host_path
    if not volume.path:
        raise ClusterError(f"{app.id}: the volume {path} has no place in the container: write containerPath")
    mount = {"Target": volume.path, "ReadOnly": volume.read_only}
    name = "" if task.on_host else data_name(path)
    if name:
        owner = {"Labels": {PROJECT: task.project, APP: app.id}}
        return mount | {"Type": "volume", "Source": f"{task.project}-{name}", "VolumeOptions": owner}
    if not path.startswith("/"):
        raise ClusterError(f"{app.id}: hostPath {path!r} is not absolute: begin it with /")
    return mount | {"Type": "bind", "Source": path}


def _host_network(app: AppSpec) -> Body:
    """Return the host's own network, with its users; ports are not published there."""
    for port in app.ports:
        if port.container not in (0, port.host):
            raise ClusterError(
                f"{app.id}: containerPort {port.container}: the ports of a container cannot be mapped on the host's "
                "network: write portDefinitions"
            )
    # An engine that maps its containers' users to others (userns-remap) gives the host's network to none of these.
    return {"HostConfig": {"NetworkMode": "host", "UsernsMode": "host"}}


def _bridge(task: Task) -> Body:
    """Return Docker's bridge, its ports published on 127.0.0.1 alone, on a host of the cluster on all addresses."""
    exposed: dict[str, Any] = {}
    bindings: dict[str, Any] = {}
    for port, host_port in zip(task.app.ports, task.host_ports, strict=True):
        for protocol in port.protocol.split(","):
            key = f"{port.container or host_port}/{protocol}"
            exposed[key] = {}
            bindings[key] = [{"HostIp": "" if task.on_host else LOCALHOST, "HostPort": str(host_port)}]
    network: Body = {"HostConfig": {"NetworkMode": "bridge"}}
    return merged(network, {"ExposedPorts": exposed, "HostConfig": {"PortBindings": bindings}}) if bindings else network
