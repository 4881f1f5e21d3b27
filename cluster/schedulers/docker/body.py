"""The body of the Docker Engine's "create a container" for an instance of an app, made by pure functions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cluster.apps.app import AppSpec, HealthCheck, Volume
from cluster.schedulers import secret_files
from cluster.schedulers.docker.options import Body, merged, options_body
from cluster.schedulers.host_ports import LOCALHOST
from cluster.schedulers.instances import data_name, environment, instance_name
from scripts.errors import ClusterError

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
    if not app.image:
        raise ClusterError(f"{app.id}: the image is missing: write container.docker.image")
    body: Body = {
        "Image": app.image,
        "Env": [f"{name}={value}" for name, value in _environment(task).items()],
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


def _environment(task: Task) -> dict[str, str]:
    places = {file.env: secret_files.place_in_container(file) for file in task.app.secret_files if file.env}
    return environment(task.app, task.name, task.host_ports, places)


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
        here, there = secret_files.place(task.project, file), secret_files.place_in_container(file)
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
