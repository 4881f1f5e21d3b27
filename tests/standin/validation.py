"""What Marathon refuses, with a path for each error: wrong types, and what is wrong in a canonical definition.

What has a wrong type never becomes an app: 422 "Invalid JSON", in the words of Play's JSON library. What is not named
here is dropped. Sources: the RAML types app.raml, appContainer.raml, network.raml, healthCheck.raml of 1.10, and
api/v2/validation/*.scala.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.standin.answers import invalid

_PATH_ID = r"^(\/?((\.\.)|(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9]))?($|\/))+$"
_RESERVED = ("restart", "tasks", "versions", ".", "..")
_OPERATORS = ("UNIQUE", "CLUSTER", "GROUP_BY", "LIKE", "UNLIKE", "MAX_PER", "IS")

Errors = Iterator[tuple[str, str]]


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


def _missing(app: dict[str, Any], partial: bool) -> Errors:
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


def validate(app: dict[str, Any]) -> None:
    """Raises Refused (422) with all that is wrong."""
    checks = (_id, _command, _container, _volumes, _network, _ports, _constraints)
    errors = [error for check in checks for error in check(app)]
    if errors:
        raise invalid(errors)


def _id(app: dict[str, Any]) -> Errors:
    last = app["id"].rpartition("/")[2]
    # Java's matcher takes a name's characters as they are; one segment a time keeps ours from trying for ever.
    segments = app["id"].strip("/").split("/")
    if app["id"] == "/":
        yield "/", "must not be root"
    elif not all(re.fullmatch(r"(([a-z0-9]|[a-z0-9][a-z0-9-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9-]*[a-z0-9])|\.\.?",
                              segment) for segment in segments):  # fmt: skip
        yield "/id", f"must fully match regular expression '{_PATH_ID}'"
    if last in _RESERVED:
        yield "/id", f"must not end in any of: {', '.join(_RESERVED)}"


def _command(app: dict[str, Any]) -> Errors:
    container = app.get("container") or {}
    runs_itself = "docker" in container or container.get("type") == "MESOS"
    both = bool(app.get("cmd")) and bool(app.get("args"))
    one = bool(app.get("cmd")) != bool(app.get("args"))
    if both or not (one or runs_itself):
        yield "/", "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'."
    if "cmd" in app and len(app["cmd"]) <= 1:
        yield "/", "must not be an empty string"


def _container(app: dict[str, Any]) -> Errors:
    container = app.get("container")
    if not container:
        return
    if container["type"] == "DOCKER" and "docker" not in container:
        yield "/container/docker", "not defined"
    if "docker" in container and not container["docker"]["image"]:
        yield "/container/docker/image", "must not be empty"
    names = [mapping["name"] for mapping in container.get("portMappings", []) if "name" in mapping]
    if len(names) != len(set(names)):
        yield "/container/portMappings", "Port names must be unique."


def _volumes(app: dict[str, Any]) -> Errors:
    for at, volume in enumerate((app.get("container") or {}).get("volumes", [])):
        on_host = not {"persistent", "external", "secret"} & volume.keys()
        for key in ("containerPath", "hostPath") if on_host else ():
            if not volume.get(key):
                yield f"/container/volumes({at})/{key}", "must not be empty"


def _network(app: dict[str, Any]) -> Errors:
    modes = [network["mode"] for network in app["networks"]]
    if len(set(modes)) > 1 or (len(modes) > 1 and modes[0] != "container"):
        yield "/networks", "May specify a single host network, single bridge network, or else 1-to-n container networks"
    for network in app["networks"]:
        if network["mode"] == "container" and not network.get("name"):
            yield "/networks", "Network name must be specified when container network is selected."
        if network["mode"] == "host" and (network.get("name") or network.get("labels")):
            yield "/networks", "Host networks may not have names or labels"
        if network["mode"] == "container/bridge" and network.get("name"):
            yield "/networks", "Bridge networks may not have names"


def _ports(app: dict[str, Any]) -> Errors:
    host = app["networks"][0]["mode"] == "host"
    if host and (app.get("container") or {}).get("portMappings"):
        yield "/", "portMappings are not allowed with host-networking"
    if not host and app.get("portDefinitions"):
        yield "/", "portDefinitions are only allowed with host-networking"
    definitions = app.get("portDefinitions", [])
    names = [each["name"] for each in definitions if "name" in each]
    ports = [each["port"] for each in definitions if each.get("port")]
    if len(names) != len(set(names)):
        yield "/portDefinitions", "Port names must be unique."
    if len(ports) != len(set(ports)):
        yield "/portDefinitions", "Ports must be unique."


def _constraints(app: dict[str, Any]) -> Errors:
    """SchedulingValidation.scala, less what it says of each operator's value."""
    for at, constraint in enumerate(app.get("constraints", [])):
        if len(constraint) not in (2, 3):
            yield f"/constraints({at})", "Each constraint must have either 2 or 3 fields"
        elif constraint[1].upper() not in _OPERATORS:
            operators = "UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER, UNLIKE or IS"
            yield f"/constraints({at})", f"operator must be one of the following {operators}"
