"""The types of an app's fields (RAML types app.raml, appContainer.raml, network.raml, healthCheck.raml of 1.10).

What has a wrong type never becomes an app: 422 "Invalid JSON", in the words of Play's JSON library. What is not named
here is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.standin.answers import invalid


@dataclass(frozen=True)
class Kind:
    """A value of these types, not below and not above these numbers, or one of these words."""

    name: str
    types: tuple[type, ...]
    least: float | None = None
    most: float | None = None
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class MapOf:
    """An object with any keys."""

    values: Any


STRING = Kind("jsstring", (str,))
NUMBER = Kind("jsnumber", (int, float))
INTEGER = Kind("jsnumber", (int,))
BOOLEAN = Kind("jsboolean", (bool,))
COUNT = Kind("jsnumber", (int,), least=0)
SHARE = Kind("jsnumber", (int, float), 0, 1)
PORT = Kind("jsnumber", (int,), 0, 65535)
ANY = Kind("jsvalue", (object,))
ENV = Kind("jsstring", (str, dict))


def words(*them: str) -> Kind:
    return Kind("jsstring", (str,), words=them)


PROTOCOL = words("tcp", "udp", "udp,tcp")
MAPPING = {
    "containerPort": PORT,
    "hostPort": PORT,
    "labels": MapOf(STRING),
    "name": STRING,
    "protocol": PROTOCOL,
    "servicePort": PORT,
    "networkNames": [STRING],
}
CONTAINER = {
    "type": words("DOCKER", "MESOS"),
    "docker": {
        "image": STRING,
        "forcePullImage": BOOLEAN,
        "privileged": BOOLEAN,
        "parameters": [{"key": STRING, "value": STRING}],
        "pullConfig": ANY,
        "credential": ANY,
    },
    "linuxInfo": ANY,
    "portMappings": [MAPPING],
    "volumes": [
        {
            "containerPath": STRING,
            "hostPath": STRING,
            "mode": words("RO", "RW"),
            "persistent": ANY,
            "external": ANY,
            "secret": ANY,
        }
    ],
}
HEALTH_CHECK = {
    "protocol": words("HTTP", "HTTPS", "TCP", "COMMAND", "MESOS_TCP", "MESOS_HTTP", "MESOS_HTTPS"),
    "command": {"value": STRING},
    "gracePeriodSeconds": COUNT,
    "intervalSeconds": COUNT,
    "timeoutSeconds": COUNT,
    "delaySeconds": COUNT,
    "maxConsecutiveFailures": COUNT,
    "path": STRING,
    "port": PORT,
    "portIndex": COUNT,
    "ipProtocol": words("IPv4", "IPv6"),
    "ignoreHttp1xx": BOOLEAN,
}
APP: dict[str, Any] = {
    "id": STRING,
    "cmd": STRING,
    "args": [STRING],
    "user": STRING,
    "cpus": NUMBER,
    "mem": Kind("jsnumber", (int, float), least=0),
    "disk": Kind("jsnumber", (int, float), least=0),
    "gpus": COUNT,
    "instances": COUNT,
    "env": MapOf(ENV),
    "labels": MapOf(STRING),
    "constraints": [[STRING]],
    "container": CONTAINER,
    "networks": [{"mode": words("container", "container/bridge", "host"), "name": STRING, "labels": MapOf(STRING)}],
    "portDefinitions": [{"port": PORT, "name": STRING, "protocol": PROTOCOL, "labels": MapOf(STRING)}],
    "requirePorts": BOOLEAN,
    "healthChecks": [HEALTH_CHECK],
    "fetch": [{"uri": STRING, "extract": BOOLEAN, "executable": BOOLEAN, "cache": BOOLEAN, "destPath": STRING}],
    "dependencies": [STRING],
    "acceptedResourceRoles": [STRING],
    "backoffSeconds": COUNT,
    "backoffFactor": Kind("jsnumber", (int, float), least=1),
    "maxLaunchDelaySeconds": COUNT,
    "taskKillGracePeriodSeconds": COUNT,
    "upgradeStrategy": {"minimumHealthCapacity": SHARE, "maximumOverCapacity": SHARE},
    "killSelection": words("YOUNGEST_FIRST", "OLDEST_FIRST"),
    "role": STRING,
    "tty": BOOLEAN,
    "executor": STRING,
    **dict.fromkeys(("unreachableStrategy", "readinessChecks", "secrets", "residency", "check", "resourceLimits"), ANY),
    "version": STRING,
}


def check_types(app: Any, *, partial: bool = False) -> None:
    """Raises Refused when a field has a wrong type or is missing; an update may leave out the id."""
    errors = list(_errors(app, APP, "")) or list(_missing(app, partial))
    if errors:
        raise invalid(errors, "Invalid JSON")


def prune(app: dict[str, Any]) -> dict[str, Any]:
    """Only what Marathon knows; its JSON readers drop everything else without a word."""
    return dict(_pruned(app, APP))


def _pruned(value: Any, shape: Any) -> Any:
    if isinstance(shape, list) and isinstance(value, list):
        return [_pruned(item, shape[0]) for item in value]
    if isinstance(shape, dict) and isinstance(value, dict):
        return {key: _pruned(item, shape[key]) for key, item in value.items() if key in shape}
    return value


def _missing(app: dict[str, Any], partial: bool) -> Iterator[tuple[str, str]]:
    if not partial and app.get("id") is None:
        yield "/id", "error.path.missing"
    docker = (app.get("container") or {}).get("docker")
    if docker is not None and docker.get("image") is None:
        yield "/container/docker/image", "error.path.missing"


def _errors(value: Any, shape: Any, path: str) -> list[tuple[str, str]]:
    """What is wrong with the value, each with its path; null counts as not there, as Play has it."""
    if isinstance(shape, Kind):
        return _kind_errors(value, shape, path)
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [(path, "error.expected.jsarray")]
        items = enumerate(value)
        return [error for at, item in items for error in _errors(item, shape[0], f"{path}({at})")]
    if not isinstance(value, dict):
        return [(path, "error.expected.jsobject")]
    known = dict.fromkeys(value, shape.values) if isinstance(shape, MapOf) else shape
    return [
        error
        for key, item in value.items()
        if key in known and item is not None
        for error in _errors(item, known[key], f"{path}/{key}")
    ]


def _kind_errors(value: Any, kind: Kind, path: str) -> list[tuple[str, str]]:
    # For Python a bool is an int, too.
    wrong = not isinstance(value, kind.types) or (isinstance(value, bool) and int in kind.types)
    if wrong:
        return [(path, f"error.expected.{kind.name}")]
    if kind.words and value not in kind.words:
        return [(path, "error.unknown.enum.literal")]
    if kind.least is not None and value < kind.least:
        return [(path, "error.min")]
    if kind.most is not None and value > kind.most:
        return [(path, "error.max")]
    return []
