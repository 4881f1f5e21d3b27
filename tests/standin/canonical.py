"""From what a client sends to the one form that Marathon answers with: defaults and service ports filled in.

Sources: api/v2/AppNormalization.scala and the RAML types of 1.10.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# What Marathon adds to a definition (RAML types app.raml, appContainer.raml of 1.10).
DEFAULTS: dict[str, Any] = {
    "backoffFactor": 1.15,
    "backoffSeconds": 1,
    "cpus": 1,
    "disk": 0,
    "executor": "",
    "gpus": 0,
    "instances": 1,
    "killSelection": "YOUNGEST_FIRST",
    "labels": {},
    "maxLaunchDelaySeconds": 300,
    "mem": 128,
    "networks": [{"mode": "host"}],
    "requirePorts": False,
    "role": "*",
    "unreachableStrategy": {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0},
    "upgradeStrategy": {"maximumOverCapacity": 1, "minimumHealthCapacity": 1},
}
HEALTH_CHECK_DEFAULTS: dict[str, Any] = {
    "gracePeriodSeconds": 300,
    "intervalSeconds": 60,
    "timeoutSeconds": 20,
    "maxConsecutiveFailures": 3,
    "delaySeconds": 15,
    "ipProtocol": "IPv4",
    "protocol": "HTTP",
}
_PORT = {"labels": {}, "protocol": "tcp"}
_OMITTED_WHEN_EMPTY = (
    "args", "constraints", "dependencies", "env", "fetch", "healthChecks", "readinessChecks", "secrets",
)  # fmt: skip
# What is known only at run time; the JSON readers do not look at it.
_NOT_PART = ("version", "versionInfo", "tasks", "deployments", "lastTaskFailure", "tasksStaged", "tasksRunning",
             "tasksHealthy", "tasksUnhealthy", "taskStats", "readinessCheckResults")  # fmt: skip


def path_id(text: str) -> str:
    """PathId.scala: slashes at the ends and double ones do not count."""
    return "/" + "/".join(part for part in text.split("/") if part)


def canonical(sent: dict[str, Any]) -> dict[str, Any]:
    """The definition with all defaults."""
    app = without_runtime(sent)
    app = {key: value for key, value in app.items() if value != [] or key not in _OMITTED_WHEN_EMPTY}
    app = {key: value for key, value in app.items() if value != {} or key not in _OMITTED_WHEN_EMPTY}
    app = DEFAULTS | app | {"id": path_id(app["id"])}
    app["networks"] = [{"mode": "container"} | network for network in app["networks"] or DEFAULTS["networks"]]
    app["upgradeStrategy"] = DEFAULTS["upgradeStrategy"] | app["upgradeStrategy"]
    if isinstance(app["unreachableStrategy"], dict):
        app["unreachableStrategy"] = DEFAULTS["unreachableStrategy"] | app["unreachableStrategy"]
    if "fetch" in app:
        app["fetch"] = [{"extract": True, "executable": False, "cache": False} | each for each in app["fetch"]]
    if "healthChecks" in app:
        app["healthChecks"] = [_health_check(check) for check in app["healthChecks"]]
    return _with_ports(app)


def without_runtime(sent: dict[str, Any]) -> dict[str, Any]:
    """Only what a definition has; null is not there."""
    return dict(_without_nulls({key: value for key, value in sent.items() if key not in _NOT_PART}))


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _health_check(check: dict[str, Any]) -> dict[str, Any]:
    filled = HEALTH_CHECK_DEFAULTS | check
    if filled["protocol"] in ("HTTP", "HTTPS"):
        filled.setdefault("path", "/")
    if filled["protocol"] != "COMMAND" and "port" not in filled:
        filled.setdefault("portIndex", 0)
    return filled


def _with_ports(app: dict[str, Any]) -> dict[str, Any]:
    """Port definitions for the host's network, port mappings for the others."""
    mode, container = app["networks"][0]["mode"], app.get("container")
    if container is not None:
        container = {"type": "DOCKER", "volumes": []} | container
        if "docker" in container:
            container["docker"] = {"forcePullImage": False, "parameters": [], "privileged": False} | container["docker"]
    if mode == "host":
        app["portDefinitions"] = [{"port": 0} | _PORT | each for each in _definitions(app)]
        if container is not None and not container.get("portMappings"):
            container.pop("portMappings", None)
        return app if container is None else app | {"container": container}
    container = container or {"type": "MESOS", "volumes": []}
    own = [{"containerPort": 0}] if container.get("portMappings") is None else container["portMappings"]
    defaults = {"containerPort": 0, "servicePort": 0} | _PORT | ({"hostPort": 0} if mode == "container/bridge" else {})
    container["portMappings"] = [defaults | each for each in own]
    return app | {"container": container, "requirePorts": False}


def _definitions(app: dict[str, Any]) -> list[dict[str, Any]]:
    given: list[dict[str, Any]] | None = app.get("portDefinitions")
    return [{"name": "default"}] if given is None else given


# Service ports: a number of the cluster's own for each port of an app, on which nothing listens


def with_service_ports(
    app: dict[str, Any], present: dict[str, Any] | None, others: Iterable[dict[str, Any]]
) -> dict[str, Any]:
    """The app with a number for each that is 0: the one that it has already, else one that no app has."""
    had = service_ports(present) if present else []
    wanted = service_ports(app)
    taken = {port for other in others for port in service_ports(other)} | {*wanted, *had}
    fresh = (port for port in range(10000, 20001) if port not in taken)
    kept = iter([port for port in had if port not in wanted])
    return _with(app, [port or next(kept, 0) or next(fresh) for port in wanted])


def service_ports(app: dict[str, Any]) -> list[int]:
    if app["networks"][0]["mode"] == "host":
        return [each["port"] for each in app.get("portDefinitions", [])]
    return [each.get("servicePort", 0) for each in app.get("container", {}).get("portMappings", [])]


def _with(app: dict[str, Any], ports: list[int]) -> dict[str, Any]:
    if not ports:
        return app
    if app["networks"][0]["mode"] == "host":
        definitions = zip(app["portDefinitions"], ports, strict=True)
        return app | {"portDefinitions": [each | {"port": port} for each, port in definitions]}
    mappings = zip(app["container"]["portMappings"], ports, strict=True)
    filled = [each | {"servicePort": port} for each, port in mappings]
    return app | {"container": app["container"] | {"portMappings": filled}}
