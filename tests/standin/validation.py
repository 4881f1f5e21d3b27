"""What Marathon refuses of a canonical definition (api/v2/validation/*.scala): 422 with a path for each error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.standin.answers import invalid

_PATH_ID = r"^(\/?((\.\.)|(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9]))?($|\/))+$"
_RESERVED = ("restart", "tasks", "versions", ".", "..")
_OPERATORS = ("UNIQUE", "CLUSTER", "GROUP_BY", "LIKE", "UNLIKE", "MAX_PER", "IS")

Errors = Iterator[tuple[str, str]]


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
