"""The environment that Marathon and Mesos give to a task (TaskBuilder.scala, EnvironmentHelper.scala)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

SANDBOX = "/mnt/mesos/sandbox"


def environment(
    app: dict[str, Any], version: str, task_id: str, host: str, ports: Sequence[int], container: str
) -> dict[str, str]:
    """All of it; the app's own variables win."""
    given = {
        "HOST": host,
        "MESOS_TASK_ID": task_id,
        "MESOS_SANDBOX": SANDBOX,
        "MESOS_CONTAINER_NAME": container,
        "MARATHON_APP_ID": app["id"],
        "MARATHON_APP_VERSION": version,
        "MARATHON_APP_DOCKER_IMAGE": app["container"]["docker"]["image"],
        "MARATHON_APP_RESOURCE_CPUS": str(float(app["cpus"])),
        "MARATHON_APP_RESOURCE_MEM": str(float(app["mem"])),
        "MARATHON_APP_RESOURCE_DISK": str(float(app["disk"])),
        "MARATHON_APP_RESOURCE_GPUS": str(app["gpus"]),
    }
    own: dict[str, str] = app.get("env", {})
    return given | _labels(app["labels"]) | port_variables(app, ports) | own


def _labels(labels: dict[str, str]) -> dict[str, str]:
    names = {_variable(name): value for name, value in labels.items()}
    each = {f"MARATHON_APP_LABEL_{name}": value for name, value in names.items()}
    return {"MARATHON_APP_LABELS": " ".join(names)} | each


def port_variables(app: dict[str, Any], ports: Sequence[int]) -> dict[str, str]:
    """PORT, PORT0 ..., PORTS, PORT_<asked for>, PORT_<NAME>: ports of the host, whatever the network."""
    if not ports:
        return {}
    asked = [
        each for each in port_items(app) if app["networks"][0]["mode"] == "host" or each.get("hostPort") is not None
    ]
    named: dict[str, str] = {}
    for item, port in zip(asked, ports, strict=True):
        number = item.get("containerPort", item.get("port", 0)) or port
        named |= {f"PORT_{number}": str(port)}
        named |= {f"PORT_{_variable(item['name'])}": str(port)} if "name" in item else {}
    numbered = {f"PORT{at}": str(port) for at, port in enumerate(ports)}
    return {"PORT": str(ports[0]), "PORTS": ",".join(str(port) for port in ports)} | numbered | named


def port_items(app: dict[str, Any]) -> list[dict[str, Any]]:
    """Port definitions or mappings, whichever the app has."""
    if app["networks"][0]["mode"] == "host":
        return list(app.get("portDefinitions", []))
    return list(app.get("container", {}).get("portMappings", []))


def _variable(name: str) -> str:
    return re.sub(r"[^A-Z0-9_]", "_", name.upper())
