"""From what a client sends to the one form that Marathon answers with: old fields migrated, defaults filled in.

Sources: api/v2/AppNormalization.scala and the RAML types of 1.10.
"""

from __future__ import annotations

from typing import Any

from tests.standin.answers import Refused, invalid

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
_DOCKER_NETWORKS: dict[str, dict[str, str]] = {
    "HOST": {"mode": "host"},
    "BRIDGE": {"mode": "container/bridge"},
    "USER": {"mode": "container"},
}


def path_id(text: str) -> str:
    """PathId.scala: slashes at the ends and double ones do not count."""
    return "/" + "/".join(part for part in text.split("/") if part)


def canonical(sent: dict[str, Any]) -> dict[str, Any]:
    """The definition in canonical form, with all defaults; raises Refused for a mix of old and new fields."""
    app = migrate(sent)
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


def migrate(sent: dict[str, Any]) -> dict[str, Any]:
    """The same in fields that are not deprecated; null is not there."""
    app: dict[str, Any] = _without_nulls({key: value for key, value in sent.items() if key not in _NOT_PART})
    _refuse_mixes(app)
    address, docker = app.pop("ipAddress", None), (app.get("container") or {}).get("docker") or {}
    network = docker.pop("network", None)
    if network is not None and network not in _DOCKER_NETWORKS:
        raise Refused(500, f"unsupported docker network type {network.capitalize()}")
    if address or network:
        app["networks"] = [_network(network, address or {})]
    old_mappings = docker.pop("portMappings", None)
    if old_mappings:
        app["container"]["portMappings"] = old_mappings
    ports, uris = app.pop("ports", None), app.pop("uris", None)
    if ports is not None and "portDefinitions" not in app:
        app["portDefinitions"] = [{"port": port} for port in ports]
    if uris:
        app["fetch"] = [{"uri": uri, "extract": uri.endswith((".tgz", ".tar.gz", ".zip"))} for uri in uris]
    return app


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _refuse_mixes(app: dict[str, Any]) -> None:
    container = app.get("container") or {}
    docker = container.get("docker") or {}
    wrong = []
    if docker.get("network") and app.get("networks"):
        wrong.append(("/", "must not specify both container.docker.network and networks"))
    if app.get("ipAddress") and app.get("networks"):
        wrong.append(("/", "must not specify both networks and ipAddress"))
    if app.get("uris") and app.get("fetch"):
        wrong.append(("/uris", "may not be set in conjunction with fetch"))
    if app.get("ports") and app.get("portDefinitions"):
        wrong.append(("/", "cannot specify both ports and port definitions"))
    if docker.get("portMappings") and container.get("portMappings"):
        wrong.append(("/container", "container.portMappings and container.docker.portMappings must not both be set"))
    if wrong:
        raise invalid(wrong)


def _network(docker_network: str | None, address: dict[str, Any]) -> dict[str, Any]:
    network = dict(_DOCKER_NETWORKS[docker_network or "USER"])
    if network["mode"] == "container" and address.get("networkName"):
        network["name"] = address["networkName"]
    return network


def _health_check(check: dict[str, Any]) -> dict[str, Any]:
    filled = HEALTH_CHECK_DEFAULTS | check
    if filled["protocol"] in ("HTTP", "HTTPS", "MESOS_HTTP", "MESOS_HTTPS"):
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
