"""Apps as Marathon's JSON, and an app beside what Marathon has, its own additions left aside."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cluster.apps import definitions
from cluster.apps.app import AppSpec, HealthCheck, Port, Volume
from cluster.apps.app import differences as differences_of
from cluster.apps.definitions import HEALTH_KEYS, RUNTIME, value_at
from cluster.credentials import folder_on_hosts
from scripts.errors import ClusterError
from scripts.marathon.answers import mapping

_HOST, _BRIDGE = [{"mode": "host"}], [{"mode": "container/bridge"}]

# An app that was read from no definition begins with this one.
_EMPTY: Mapping[str, Any] = {
    "instances": 1, "cpus": 1, "mem": 128, "networks": _HOST, "portDefinitions": [], "taskKillGracePeriodSeconds": 10,
}  # fmt: skip

_PLACES = {
    "id": "id", "command": "cmd", "image": "container.docker.image", "cpus": "cpus", "mem_mib": "mem",
    "instances": "instances", "kill_grace_s": "taskKillGracePeriodSeconds",
}  # fmt: skip

_List = tuple[str, Callable[[Any], Any], Callable[[Any], Any]]


def with_paths(app: AppSpec, project: str) -> AppSpec:
    """Return the app with its secret files as folders of the host, and their paths in its environment."""
    seen = {one.group: one.folder or folder_on_hosts(project, one.group) for one in app.secret_files}
    volumes = [Volume(folder_on_hosts(project, group), folder, read_only=True) for group, folder in seen.items()]
    paths = {one.env: f"{seen[one.group]}/{one.name}" for one in app.secret_files if one.env}
    return replace(app.with_env(paths), volumes=(*app.volumes, *volumes), secret_files=())


def definition_of(app: AppSpec) -> dict[str, Any]:
    """Return an app as Marathon's JSON; what an AppSpec cannot hold of its own definition stays there as it is."""
    if app.time_limit_s:
        raise ClusterError(
            f"{app.id}: a time limit (--time) of {app.time_limit_s:g} s: Marathon has none: leave it out"
        )
    app.refuse_elastic("Marathon")
    found: dict[str, Any] = json.loads(json.dumps(dict(app.native or _EMPTY)))
    known = definitions.read(found)
    app = replace(app, container_options=(*app.container_options, *app.engine_options))
    for name, place in _PLACES.items():
        if getattr(app, name) != getattr(known, name):
            _put(found, place, getattr(app, name))
    if app.image != known.image:
        found["container"].setdefault("type", "DOCKER")
    _write_texts(found, known, app)
    if app.on_host_network != known.on_host_network:
        found["networks"] = _HOST if app.on_host_network else _BRIDGE
        found.pop("portDefinitions", None)
        found.get("container", {}).pop("portMappings", None)
        known = replace(known, ports=())
        if app.on_host_network:
            found["portDefinitions"] = []  # else Marathon gives it a port
    _write_lists(found, known, app)
    return found


def _write_texts(found: dict[str, Any], known: AppSpec, app: AppSpec) -> None:
    for name in ("env", "labels"):
        old, new = getattr(known, name), getattr(app, name)
        if old != new:
            kept = {key: value for key, value in mapping(found.get(name)).items() if key not in old or key in new}
            found[name] = {**kept, **new}


def _write_lists(found: dict[str, Any], known: AppSpec, app: AppSpec) -> None:
    for name, (place, read, write) in {**_LISTS, "ports": _PORTS[app.on_host_network]}.items():
        old, new = getattr(known, name), getattr(app, name)
        if old != new:
            wanted = new if isinstance(new, tuple) else (new,) if new else ()
            _put(found, place, list(_merged(value_at(found, place.split(".")) or [], wanted, read, write)))


def _merged(
    items: Sequence[Any], wanted: Sequence[Any], read: Callable[[Any], Any], write: Callable[[Any], Any]
) -> Iterator[Any]:
    """Yield what is wanted or cannot be read as it stands; new ones take the places of what is wanted no more."""
    held = [read(item) for item in items]
    new = iter([one for one in wanted if one not in held])
    for item, one in zip(items, held, strict=True):
        if one is None or one in wanted:
            yield item
        elif (other := next(new, None)) is not None:
            yield {**item, **write(other)} if isinstance(item, dict) else write(other)
    yield from map(write, new)


def _put(found: dict[str, Any], place: str, value: Any) -> None:
    *parents, key = place.split(".")
    for parent in parents:
        if not found.get(parent):
            found[parent] = {}
        found = found[parent]
    found[key] = value
    if value == "":
        del found[key]


def _port(port: Port, /, **numbers: int) -> dict[str, Any]:
    return {**({"name": port.name} if port.name else {}), **numbers, "protocol": port.protocol}


def _volume(volume: Volume) -> dict[str, Any]:
    mode = "RO" if volume.read_only else "RW"
    return {"containerPath": volume.path, "hostPath": volume.host_path, "mode": mode}


def _health_check(check: HealthCheck) -> dict[str, Any]:
    times = {key: getattr(check, name) for name, key in HEALTH_KEYS.items()}
    return {"protocol": "COMMAND", "command": {"value": check.command}, **times}


def _option(option: tuple[str, str]) -> dict[str, Any]:
    return {"key": option[0], "value": option[1]}


# By the field of an AppSpec: the place of the list, how an item is read (None: it holds more) and written.
_LISTS: Mapping[str, _List] = {
    "pinned_to": ("constraints", definitions.read_pin, lambda host: ["hostname", "CLUSTER", host]),
    "volumes": ("container.volumes", definitions.read_volume, _volume),
    "container_options": ("container.docker.parameters", definitions.read_option, _option),
    "health": ("healthChecks", definitions.read_health_check, _health_check),
}
_PORTS: Mapping[bool, _List] = {
    True: ("portDefinitions", definitions.read_port, lambda one: _port(one, port=one.host)),
    False: (
        "container.portMappings",
        definitions.read_mapped_port,
        lambda port: _port(port, containerPort=port.container, hostPort=port.host),
    ),
}


# What stands there when a definition says nothing, by Marathon's RAML types (app.raml, appContainer.raml,
# healthCheck.raml) from 1.5 to 1.10; where versions differ, all of theirs.
_DEFAULTS: Mapping[str, tuple[Any, ...]] = {
    "backoffFactor": (1.15,),
    "backoffSeconds": (1,),
    "cpus": (1,),
    "disk": (0,),
    "gpus": (0,),
    "instances": (1,),
    "killSelection": ("YOUNGEST_FIRST",),
    "maxLaunchDelaySeconds": (300, 3600),
    "mem": (128,),
    "networks": ([{"mode": "host"}],),
    "requirePorts": (False,),
    "tty": (False,),
    "unreachableStrategy.inactiveAfterSeconds": (0, 300),
    "unreachableStrategy.expungeAfterSeconds": (0, 600),
    "upgradeStrategy.maximumOverCapacity": (1,),
    "upgradeStrategy.minimumHealthCapacity": (1,),
    "container.type": ("DOCKER",),
    "container.docker.forcePullImage": (False,),
    "container.docker.privileged": (False,),
    "container.portMappings[].hostPort": (0,),
    "container.portMappings[].protocol": ("tcp",),
    "portDefinitions[].protocol": ("tcp",),
    "fetch[].cache": (False,),
    "fetch[].executable": (False,),
    "fetch[].extract": (True,),
    "healthChecks[].delaySeconds": (15,),
    "healthChecks[].gracePeriodSeconds": (300,),
    "healthChecks[].ignoreHttp1xx": (False,),
    "healthChecks[].intervalSeconds": (60,),
    "healthChecks[].ipProtocol": ("IPv4",),
    "healthChecks[].maxConsecutiveFailures": (3,),
    "healthChecks[].path": ("/",),
    "healthChecks[].protocol": ("HTTP",),
    "healthChecks[].timeoutSeconds": (20,),
}

# What Marathon chooses where a definition leaves it open, each time or by how it was started.
_CHOSEN = frozenset({
    "acceptedResourceRoles", "container.portMappings[].servicePort", "executor", "portDefinitions",
    "portDefinitions[].port", "role",
})  # fmt: skip


def differences(present: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return what is not as wanted, a line each: `mem: 512 -> 1024`."""
    found, sent = ({key: app[key] for key in app if key not in RUNTIME} for app in (present, wanted))
    return list(differences_of(found, sent, _is_equal))


def is_same(present: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return whether both are one configuration, however many instances."""
    return not differences({**present, "instances": 1}, {**wanted, "instances": 1})


def app_of(answer: Mapping[str, Any]) -> AppSpec:
    """Return the app of an answer; its definition is as it can be sent again."""
    return definitions.read({key: value for key, value in answer.items() if key not in RUNTIME and value is not None})


def _is_equal(present: Any, wanted: Any, path: tuple[str | int, ...]) -> bool:
    rule = "".join("[]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")
    if rule in _CHOSEN and wanted in (None, 0):
        return True
    return bool(_said(present, rule) == _said(wanted, rule))


def _said(value: Any, rule: str) -> Any:
    """Return the value, None where it says no more than what is missing."""
    return None if value in ("", [], {}, *_DEFAULTS.get(rule, ())) else value
