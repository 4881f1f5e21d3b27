"""What Marathons before 1.10 say differently (api/v2/json/Formats.scala of the tags v0.8.0 and v1.4.9)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.standin.answers import invalid

_NETWORK = {"host": "HOST", "container/bridge": "BRIDGE", "container": "USER"}


@dataclass(frozen=True)
class Dialect:
    """One version's way to write its answers; `unknown_url` is the status and message for a URL that is none."""

    version: str = "1.10.26"
    unknown_url: tuple[int, str] = (500, "URI not found")
    has_text: bool = False
    text_by_default: bool = False
    legacy: bool = False
    has_state: bool = True
    wrong_type: int = 422

    def refuse_newer(self, sent: dict[str, Any]) -> None:
        """Raises Refused for what this version does not know: before 1.5 its JSON schema allows no other fields."""
        wrong = [f"/{key}" for key in ("networks",) if key in sent]
        wrong += ["/container/portMappings"] if "portMappings" in (sent.get("container") or {}) else []
        if self.legacy and wrong:
            raise invalid([(path, "is not a known field") for path in wrong], "Invalid JSON")

    def app(self, app: dict[str, Any]) -> dict[str, Any]:
        """The app as this version writes it."""
        if not self.legacy:
            return app
        answered = _legacy_app(app)
        if not self.has_state:
            del answered["versionInfo"], answered["ipAddress"], answered["portDefinitions"]
        if "tasks" in app:
            answered["tasks"] = [self.task(task) for task in app["tasks"]]
            answered["lastTaskFailure"] = app.get("lastTaskFailure")
        return answered

    def task(self, task: dict[str, Any]) -> dict[str, Any]:
        """The task as this version writes it: before 1.5 what is empty is left out and what is not set is null."""
        if not self.legacy:
            return task
        answered = {key: value for key, value in task.items() if value != []} | {"ports": task["ports"]}
        answered.setdefault("startedAt", None)
        if "healthCheckResults" in answered:
            answered["healthCheckResults"] = [
                _legacy_result(result, task["id"]) for result in task["healthCheckResults"]
            ]
        if not self.has_state:
            for key in ("state", "ipAddresses", "slaveId"):
                answered.pop(key, None)
        return answered


CURRENT = Dialect()
# Some builds of 1.5 and 1.6 took a missing Accept for text/plain.
TEXT_BY_DEFAULT = Dialect("1.5.0", (404, "URI not found: {path}"), has_text=True, text_by_default=True)
V1_4 = Dialect("1.4.9", (404, "URI not found: {path}"), has_text=True, legacy=True, wrong_type=400)
V0_8 = Dialect("0.8.0", (404, "URI not found: {path}"), True, True, legacy=True, has_state=False, wrong_type=400)


def _legacy_app(app: dict[str, Any]) -> dict[str, Any]:
    """1.5's networks and port mappings where they were before, and null for all that is not set."""
    network, container = app["networks"][0], app.get("container")
    mappings = (container or {}).get("portMappings", [])
    unset = dict.fromkeys(("args", "cmd", "user", "residency", "acceptedResourceRoles", "container"))
    empty: dict[str, Any] = {
        "constraints": [],
        "dependencies": [],
        "env": {},
        "fetch": [],
        "healthChecks": [],
        "uris": [],
    }
    answered: dict[str, Any] = unset | empty | app
    for newer in ("networks", "role", "gpus", "killSelection", "unreachableStrategy"):
        answered.pop(newer, None)
    answered["ports"] = [item.get("port", 0) for item in app.get("portDefinitions", [])] or [10000 for _ in mappings]
    answered.setdefault("portDefinitions", [{"port": port, "labels": {}} for port in answered["ports"]])
    answered["ipAddress"] = _ip_address(network) if network["mode"] == "container" else None
    if container:
        docker = container.get("docker", {}) | {"network": _NETWORK[network["mode"]], "portMappings": mappings or None}
        rest = {key: value for key, value in container.items() if key != "portMappings"}
        answered["container"] = {"volumes": []} | rest | {"docker": docker}
    return answered


def _ip_address(network: dict[str, Any]) -> dict[str, Any]:
    return {"groups": [], "labels": {}, "discovery": {"ports": []}, "networkName": network.get("name")}


def _legacy_result(result: dict[str, Any] | None, task_id: str) -> dict[str, Any] | None:
    if result is None:
        return None
    rest = {key: value for key, value in result.items() if key != "instanceId"}
    return {"firstSuccess": None, "lastFailure": None, "lastSuccess": None} | rest | {"taskId": task_id}
