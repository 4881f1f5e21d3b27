"""From an app definition to what the Docker Engine is asked for: the body of "create a container", as a pure function.

Every key of a definition has one line in TABLE: it is kept, has no meaning on one host and is left out, or is
refused by name. A key that is not there is refused too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cluster.apps.definitions import dotted
from cluster.schedulers import App
from cluster.schedulers.docker import parts
from cluster.schedulers.docker.parts import MIB, Body, Task, at, merged
from scripts.errors import ClusterError

# What Marathon assumes where a definition is silent.
DEFAULTS: Mapping[str, Any] = {"cpus": 1, "mem": 128, "networks": [{"mode": "host"}]}

Kind = type | tuple[type, ...]
NUMBER: Kind = (int, float)


@dataclass(frozen=True)
class Rule:
    """What becomes of a key, and what may stand there.

    A kept key without `translate` is read by the translation of the key above it or by the scheduler.
    """

    fate: Literal["kept", "left out", "refused"]
    kind: Kind = object
    translate: Callable[[Any, Task], Body] | None = None
    one_of: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()  # the keys that an object, or each object of a list, must have
    refusal: str = ""


def kept(kind: Kind, translate: Callable[[Any, Task], Body] | None = None, needs: tuple[str, ...] = ()) -> Rule:
    """A key whose value is of this kind."""
    return Rule("kept", kind, translate, needs=needs)


def kept_at(path: str, kind: Kind, convert: Callable[[Any], Any] = lambda value: value) -> Rule:
    """A key with a place of its own in the body, `HostConfig.Memory`."""
    return Rule("kept", kind, lambda value, task: at(path, convert(value)))


def one_of(*values: str) -> Rule:
    """A key that can have these values only."""
    return Rule("kept", str, one_of=values)


def refused(why: str) -> Rule:
    """A key that would change the meaning if it were dropped, and what to write instead."""
    return Rule("refused", refusal=why)


LEFT_OUT = Rule("left out")

TABLE: Mapping[str, Rule] = {
    "id": kept(str),
    "instances": kept(int),
    "cmd": kept(str, parts.command),
    "args": kept_at("Cmd", list),
    "env": kept(dict),  # with what every instance gets
    "labels": kept_at("Labels", dict),
    "cpus": kept_at("HostConfig.CpuShares", NUMBER, lambda cpus: max(2, int(cpus * 1024))),  # Mesos' shares and least
    "mem": kept_at("HostConfig.Memory", NUMBER, lambda mem_mib: max(32, int(mem_mib)) * MIB),  # Mesos' least
    "tty": kept_at("Tty", bool),
    "taskKillGracePeriodSeconds": kept(int),  # with what every instance gets
    "networks": kept(list, parts.network, needs=("mode",)),
    "networks[].mode": one_of("host", "container/bridge"),
    "networks[].labels": LEFT_OUT,
    "networks[].name": refused("no other network is made here; use the mode host or container/bridge"),
    "portDefinitions": kept(list),
    "portDefinitions[].port": kept(int),
    "portDefinitions[].name": kept(str),
    "portDefinitions[].protocol": one_of("tcp", "udp", "udp,tcp"),
    "portDefinitions[].labels": LEFT_OUT,
    "container": kept(dict),
    "container.type": one_of("DOCKER"),
    "container.docker": kept(dict),
    "container.docker.image": kept(str),  # see image_of
    "container.docker.privileged": kept_at("HostConfig.Privileged", bool),
    "container.docker.parameters": kept(list, parts.parameters, needs=("key", "value")),
    "container.docker.parameters[].key": kept(str),
    "container.docker.parameters[].value": kept(str),
    "container.docker.forcePullImage": LEFT_OUT,  # an image by digest is never stale, one made here is the newest
    "container.docker.network": refused("it is an older form; write networks"),
    "container.docker.portMappings": refused("it is an older form; write container.portMappings"),
    "container.docker.pullConfig": refused("the engine's own login is used"),
    "container.docker.credential": refused("the engine's own login is used"),
    "container.linuxInfo": refused("it is for Mesos containers"),
    "container.portMappings": kept(list, parts.ports),
    "container.portMappings[].containerPort": kept(int),
    "container.portMappings[].hostPort": kept(int),
    "container.portMappings[].name": kept(str),
    "container.portMappings[].protocol": one_of("tcp", "udp", "udp,tcp"),
    "container.portMappings[].servicePort": LEFT_OUT,  # a number for load balancers
    "container.portMappings[].labels": LEFT_OUT,
    "container.portMappings[].networkNames": refused("no other network is made here"),
    "container.volumes": kept(list, parts.volumes, needs=("containerPath", "hostPath")),
    "container.volumes[].containerPath": kept(str),
    "container.volumes[].hostPath": kept(str),
    "container.volumes[].mode": one_of("RO", "RW"),
    "container.volumes[].persistent": refused("write a hostPath /var/lib/cluster/NAME for the data of an app"),
    "container.volumes[].external": refused("write a hostPath"),
    "container.volumes[].secret": refused("one host keeps no secrets; write a hostPath"),
    "healthChecks": kept(list, parts.health, needs=("protocol", "command")),
    "healthChecks[].protocol": one_of("COMMAND"),
    "healthChecks[].command": kept(dict, needs=("value",)),
    "healthChecks[].command.value": kept(str),
    "healthChecks[].gracePeriodSeconds": kept(NUMBER),
    "healthChecks[].intervalSeconds": kept(NUMBER),
    "healthChecks[].timeoutSeconds": kept(NUMBER),
    "healthChecks[].maxConsecutiveFailures": kept(int),
    **dict.fromkeys(
        ("healthChecks[].delaySeconds", "healthChecks[].ignoreHttp1xx", "healthChecks[].path", "healthChecks[].port",
         "healthChecks[].portIndex"),
        LEFT_OUT,  # the grace period is what counts; the others are for checks over a network
    ),
    # Where to run, how to get there and how to try again: there is one host, and Docker restarts with its own back-off.
    **dict.fromkeys(
        ("acceptedResourceRoles", "backoffFactor", "backoffSeconds", "constraints", "dependencies", "disk",
         "enforceGroupRole", "executorResources", "fetch", "killSelection", "maxLaunchDelaySeconds", "requirePorts",
         "role", "unreachableStrategy", "upgradeStrategy", "uris"),
        LEFT_OUT,
    ),
    # What Marathon adds to its answer when it is asked for an app.
    **dict.fromkeys(
        ("deployments", "lastTaskFailure", "readinessCheckResults", "tasks", "tasksHealthy", "tasksRunning",
         "tasksStaged", "tasksStats", "tasksUnhealthy", "version", "versionInfo"),
        LEFT_OUT,
    ),
    "check": refused("write healthChecks with the protocol COMMAND"),
    "executor": refused("there is no Mesos on one host"),
    "gpus": refused("they are not handed out on one host"),
    "ipAddress": refused("it is an older form; write networks"),
    "ports": refused("it is an older form; write portDefinitions or container.portMappings"),
    "readinessChecks": refused("write healthChecks with the protocol COMMAND"),
    "residency": refused("write a volume with the hostPath /var/lib/cluster/NAME"),
    "resourceLimits": refused("write mem, and the docker parameter cpus"),
    "secrets": refused("one host keeps no secrets; write env or a volume"),
    "storeUrls": refused("it is an older form; write fetch"),
    "user": refused("write the docker parameter user"),
}  # fmt: skip


def container_body(task: Task) -> Body:
    """What the Engine is asked for to make one instance.

    Raises:
        ClusterError: the definition has a key or a value that cannot be run here.
    """
    check(task.app)
    definition = {**DEFAULTS, **{key: value for key, value in task.app.definition.items() if value is not None}}
    body = parts.every_instance(task)
    for path, rule in TABLE.items():
        value = _value(definition, path)
        if rule.translate and value is not None:
            body = merged(body, rule.translate(value, task))
    return merged(body, {"Image": image_of(task.app), "Labels": parts.labels(task)})


def image_of(app: App) -> str:
    """The image that the app's containers are made from.

    Raises:
        ClusterError: the definition names none.
    """
    image = _value(app.definition, "container.docker.image")
    if not image:
        raise ClusterError(f"{app.id}: container.docker.image is missing")
    return str(image)


def with_image(definition: Mapping[str, Any], image: str) -> dict[str, Any]:
    """Return the definition of a container with another image."""
    container = definition["container"]
    return {**definition, "container": {**container, "docker": {**container["docker"], "image": image}}}


def _value(definition: Mapping[str, Any], path: str) -> Any:
    """What stands at `container.docker.image`; None where nothing does."""
    value: Any = definition
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def check(app: App) -> None:
    """Hold every key of a definition against the table.

    Raises:
        ClusterError: a key or value that cannot be run on one host, with its place.
    """
    _check_object(app.definition, "", (), app.id)
    if app.definition.get("cmd") is not None and app.definition.get("args") is not None:
        raise ClusterError(f"{app.id}: cmd and args exclude each other: keep one")
    for name, value in (app.definition.get("env") or {}).items():
        if not isinstance(value, str):
            raise ClusterError(f"{app.id}: env.{name} is {value!r}: write a string")


def _check_object(node: Mapping[str, Any], rule_path: str, path: tuple[str | int, ...], app_id: str) -> None:
    for key, value in node.items():
        here, place = f"{rule_path}.{key}".lstrip("."), f"{app_id}: {dotted((*path, key))}"
        rule = TABLE.get(here)
        if rule is None:
            raise ClusterError(f"{place}: this key cannot be run here; is it spelled as Marathon's?")
        if value is not None:
            _check_value(value, rule, place)
            _check_below(value, rule, here, (*path, key), app_id)


def _check_value(value: Any, rule: Rule, place: str) -> None:
    if rule.fate == "refused" and value not in ("", [], {}, 0):
        raise ClusterError(f"{place} cannot be run here: {rule.refusal}")
    if not isinstance(value, rule.kind) or (isinstance(value, bool) and rule.kind in (int, NUMBER)):
        raise ClusterError(f"{place} is {value!r}: {_KINDS[rule.kind]} is needed")
    if rule.one_of and value not in rule.one_of:
        raise ClusterError(f"{place} is {value!r}: here it can be {' or '.join(rule.one_of)}")


_KINDS = {
    str: "a string", int: "a whole number", NUMBER: "a number", bool: "true or false", list: "a list",
    dict: "an object",
}  # fmt: skip


def _check_below(value: Any, rule: Rule, here: str, path: tuple[str | int, ...], app_id: str) -> None:
    """The objects below a key; those whose keys are the user's own (env, labels) have no lines in the table."""
    if isinstance(value, list) and _has_lines(f"{here}[]."):
        for index, item in enumerate(value):
            _check_item(item, rule, f"{here}[]", (*path, index), app_id)
    elif isinstance(value, dict) and _has_lines(f"{here}."):
        _check_item(value, rule, here, path, app_id)


def _has_lines(prefix: str) -> bool:
    return any(path.startswith(prefix) for path in TABLE)


def _check_item(item: Any, rule: Rule, here: str, path: tuple[str | int, ...], app_id: str) -> None:
    place = f"{app_id}: {dotted(path)}"
    if not isinstance(item, dict):
        raise ClusterError(f"{place} is {item!r}: an object is needed")
    _check_object(item, here, path, app_id)
    for key in rule.needs:
        if item.get(key) is None:
            raise ClusterError(f"{place}.{key} is missing")
