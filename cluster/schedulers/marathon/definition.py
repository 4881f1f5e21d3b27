"""An app as Marathon's JSON: the definition that it was read from, with what differs from it written in its place."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from cluster.apps import definitions
from cluster.apps.app import AppSpec, HealthCheck, Port, Volume
from scripts.errors import ClusterError

# What an app is that was read from no definition; all else is written where it differs from an empty one.
_EMPTY: Mapping[str, Any] = {
    "instances": 1, "cpus": 1, "mem": 128, "networks": [{"mode": "host"}], "portDefinitions": [],
    "taskKillGracePeriodSeconds": 10,
}  # fmt: skip

_PLACES = {
    "id": "id",
    "command": "cmd",
    "cpus": "cpus",
    "mem_mib": "mem",
    "instances": "instances",
    "kill_grace_s": "taskKillGracePeriodSeconds",
}


def definition_of(app: AppSpec) -> dict[str, Any]:
    """Return an app as Marathon's JSON; what an AppSpec cannot hold of its own definition stays there as it is.

    Raises:
        ClusterError: it has a limit of time, which Marathon does not know.
    """
    if app.time_limit_s:
        raise ClusterError(f"{app.id}: time_limit_s is {app.time_limit_s:g}: Marathon has no such limit: leave it out")
    found: dict[str, Any] = json.loads(json.dumps(dict(app.native or _EMPTY)))
    known = definitions.read(found)
    for name, place in _PLACES.items():
        if getattr(app, name) != getattr(known, name):
            _put(found, place, getattr(app, name))
    if app.image != known.image:
        _put(found, "container.docker.image", app.image)
        found["container"].setdefault("type", "DOCKER")
    for name in ("env", "labels"):
        _write_texts(found, name, getattr(known, name), getattr(app, name))
    _write_ports(found, known, app)
    _write_list(found, "container.volumes", (known.volumes, app.volumes), definitions.read_volume, _volume)
    options = (*app.container_options, *app.engine_options)
    place = "container.docker.parameters"
    _write_list(found, place, (known.container_options, options), definitions.read_option, _option)
    checks, check = ((one.health,) if one.health else () for one in (known, app))
    _write_list(found, "healthChecks", (checks, check), definitions.read_health_check, _health_check)
    if app.pinned_to != known.pinned_to:
        kept = [one for one in found.get("constraints") or [] if definitions.read_pin(one) is None]
        _put(found, "constraints", [*kept, *([["hostname", "CLUSTER", app.pinned_to]] if app.pinned_to else [])])
    return found


def _put(found: dict[str, Any], place: str, value: Any) -> None:
    """Write a value at a place; an empty one means that nothing shall be there."""
    *parents, key = place.split(".")
    for parent in parents:
        if not found.get(parent):
            found[parent] = {}
        found = found[parent]
    if value in ("", [], {}):
        found.pop(key, None)
    else:
        found[key] = value


def _write_texts(found: dict[str, Any], name: str, known: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    if known != wanted:
        present = found.get(name) or {}
        kept = {key: value for key, value in present.items() if key not in known or key in wanted}
        _put(found, name, {**kept, **wanted})


def _write_ports(found: dict[str, Any], known: AppSpec, app: AppSpec) -> None:
    if (known.ports, known.on_host_network) == (app.ports, app.on_host_network):
        return
    if app.on_host_network:
        _write_list(found, "portDefinitions", (None, app.ports), definitions.read_port, _port)
        found.setdefault("portDefinitions", [])  # else Marathon gives it a port
    else:
        _write_list(found, "container.portMappings", (None, app.ports), definitions.read_mapped_port, _mapped_port)
    if known.on_host_network != app.on_host_network:
        found["networks"] = [{"mode": "host" if app.on_host_network else "container/bridge"}]
        _put(found, "container.portMappings" if app.on_host_network else "portDefinitions", [])


def _write_list(
    found: dict[str, Any],
    place: str,
    change: tuple[Sequence[Any] | None, Sequence[Any]],
    read: Callable[[Any], Any],
    write: Callable[[Any], dict[str, Any]],
) -> None:
    """Write a list at a place unless what is known of it is as wanted."""
    known, wanted = change
    if known != wanted:
        node: Any = found
        for key in place.split("."):
            node = node.get(key) if isinstance(node, dict) else None
        _put(found, place, list(_merged(node or [], wanted, read, write)))


def _merged(
    items: Sequence[Any], wanted: Sequence[Any], read: Callable[[Any], Any], write: Callable[[Any], dict[str, Any]]
) -> Iterator[Any]:
    """Yield what is wanted or cannot be read as it stands; new ones take the places of what is wanted no more."""
    held = [read(item) for item in items]
    new = iter([one for one in wanted if one not in held])
    for item, one in zip(items, held, strict=True):
        if one is None or one in wanted:
            yield item
        elif (other := next(new, None)) is not None:
            yield {**item, **write(other)}
    yield from map(write, new)


def _port(port: Port) -> dict[str, Any]:
    return {**({"name": port.name} if port.name else {}), "port": port.host, "protocol": port.protocol}


def _mapped_port(port: Port) -> dict[str, Any]:
    ports = {"containerPort": port.container, "hostPort": port.host, "protocol": port.protocol}
    return {**({"name": port.name} if port.name else {}), **ports}


def _volume(volume: Volume) -> dict[str, Any]:
    mode = "RO" if volume.read_only else "RW"
    return {"containerPath": volume.path, "hostPath": volume.host_path, "mode": mode}


def _option(option: tuple[str, str]) -> dict[str, Any]:
    return {"key": option[0], "value": option[1]}


def _health_check(check: HealthCheck) -> dict[str, Any]:
    return {
        "protocol": "COMMAND",
        "command": {"value": check.command},
        "gracePeriodSeconds": check.grace_s,
        "intervalSeconds": check.interval_s,
        "timeoutSeconds": check.timeout_s,
        "maxConsecutiveFailures": check.failures,
    }
