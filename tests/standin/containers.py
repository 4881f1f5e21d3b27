"""From a task to `docker run`, as Mesos does it (src/docker/docker.cpp): a pure function to the engine's options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

SANDBOX = "/mnt/mesos/sandbox"
MIB = 1 << 20
# Mesos gives no container less (cgroups/constants.hpp).
MIN_MEM_MIB = 32


@dataclass
class Run:
    """The options of one container: its own and those of its host."""

    own: dict[str, Any] = field(default_factory=dict)
    host: dict[str, Any] = field(default_factory=dict)


def run_options(app: dict[str, Any], task_id: str, ports: list[int], env: dict[str, str], publish_on: str = "") -> Run:
    """The options; raises ValueError for a docker parameter that `docker run` or this stand-in does not know."""
    docker, command = app["container"]["docker"], app.get("cmd")
    run = Run(
        own={
            "image": docker["image"],
            "environment": env,
            "labels": {"MESOS_TASK_ID": task_id},
            "entrypoint": ["/bin/sh"] if command else None,
            "command": ["-c", command] if command else app.get("args"),
            "user": app.get("user"),
            "tty": app.get("tty", False),
            "volumes": [SANDBOX],
        },
        host={
            "cpu_shares": max(2, int(app["cpus"] * 1024)),
            "mem_limit": int(max(app["mem"], MIN_MEM_MIB) * MIB),
            "binds": [_bind(volume) for volume in app["container"]["volumes"] if "hostPath" in volume],
            "privileged": docker["privileged"],
        },
    )
    _network(run, app, ports, publish_on)
    for parameter in docker["parameters"]:
        _apply(run, parameter["key"], parameter["value"])
    return run


def _bind(volume: dict[str, Any]) -> str:
    return f"{volume['hostPath']}:{volume['containerPath']}:{volume.get('mode', 'RW').lower()}"


def _network(run: Run, app: dict[str, Any], ports: list[int], publish_on: str) -> None:
    """The network, and `-p` for each mapping that has a port of the host."""
    network = app["networks"][0]
    run.host["network_mode"] = {"host": "host", "container/bridge": "bridge"}.get(network["mode"], network.get("name"))
    if network["mode"] == "host":
        return
    mappings = [mapping for mapping in app["container"]["portMappings"] if mapping.get("hostPort") is not None]
    bindings: dict[str, list[Any]] = {}
    for mapping, port in zip(mappings, ports, strict=True):
        for protocol in mapping["protocol"].split(","):
            inside = f"{mapping['containerPort'] or port}/{protocol}"
            bindings.setdefault(inside, []).append((publish_on, port) if publish_on else port)
    run.host["port_bindings"] = bindings
    run.own["ports"] = [tuple(inside.split("/")) for inside in bindings]


def _apply(run: Run, key: str, value: str) -> None:
    """One `--key=value` of docker run."""
    if key not in _PARAMETERS:
        raise ValueError(f"unknown flag: --{key}")
    options, name, read = _PARAMETERS[key]
    there = getattr(run, options)
    read_value = read(value)
    if isinstance(read_value, list):
        there[name] = [*there.get(name, []), *read_value]
    elif isinstance(read_value, dict):
        there[name] = {**there.get(name, {}), **read_value}
    else:
        there[name] = read_value


def _flag(value: str) -> bool:
    return value.lower() in ("true", "1")


def _tmpfs(value: str) -> dict[str, str]:
    path, _, options = value.partition(":")
    return {path: options}


def _one(value: str) -> list[str]:
    return [value]


def _as_is(value: str) -> str:
    return value


_PARAMETERS: dict[str, tuple[str, str, Callable[[str], Any]]] = {
    "init": ("host", "init", _flag),
    "read-only": ("host", "read_only", _flag),
    "cap-add": ("host", "cap_add", _one),
    "cap-drop": ("host", "cap_drop", _one),
    "security-opt": ("host", "security_opt", _one),
    "tmpfs": ("host", "tmpfs", _tmpfs),
    "memory-swap": ("host", "memswap_limit", _as_is),
    "pids-limit": ("host", "pids_limit", int),
    "user": ("own", "user", _as_is),
}


def environment(app: dict[str, Any], version: str, task_id: str, host: str, ports: list[int], container: str) -> Any:
    """What tests look at of the variables of TaskBuilder.scala and EnvironmentHelper.scala; the app's own win."""
    given = {
        "HOST": host,
        "MESOS_TASK_ID": task_id,
        "MESOS_SANDBOX": SANDBOX,
        "MESOS_CONTAINER_NAME": container,
        "MARATHON_APP_ID": app["id"],
        "MARATHON_APP_VERSION": version,
        "MARATHON_APP_DOCKER_IMAGE": app["container"]["docker"]["image"],
    }
    numbered = {f"PORT{at}": str(port) for at, port in enumerate(ports)}
    if ports:
        numbered |= {"PORT": str(ports[0]), "PORTS": ",".join(map(str, ports))}
    return given | numbered | app.get("env", {})
