"""Service ports: a number of the cluster's own for each port of an app, 10000 to 20000, on which nothing listens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


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
