"""The ports of an app as its definition lists them, and the address at which a task has one.

Reads the answers of Marathon 0.8 to 1.10: what has no value is missing in the new ones and null in the old ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scripts.errors import ClusterError
from scripts.hostport import HostPort

_MOST = 1e15

# A name, an IPv4 or an IPv6 address.
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?")


@dataclass(frozen=True)
class Port:
    """One port of an app; `host_index` is its place among the ports that a task has of its host, if it has one.

    `networks` are those in which it is reached without a port of the host.
    """

    name: str
    container_port: int
    host_index: int | None
    networks: tuple[str, ...] = ()


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a JSON object, else (null, missing) an empty one."""
    return value if isinstance(value, dict) else {}


def mappings(value: Any) -> list[Mapping[str, Any]]:
    """The objects of a JSON array; of null and of what is missing, none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def amount(value: Any) -> float:
    """The value if it is a number that can be, else 0."""
    return value if isinstance(value, int | float) and abs(value) < _MOST else 0


def app_ports(app: Mapping[str, Any]) -> list[Port]:
    """The app's ports in the order of its definition."""
    mode = _network_mode(app)
    if mode == "host":
        listed = mappings(app.get("portDefinitions")) or [{} for _ in _list(app.get("ports"))]
        return [Port(_name(item), 0, index) for index, item in enumerate(listed)]
    container = mapping(app.get("container"))
    # Up to 1.4 the mappings stood with the Docker settings.
    listed = mappings(container.get("portMappings")) or mappings(mapping(container.get("docker")).get("portMappings"))
    if listed:
        names = tuple(str(network.get("name")) for network in mappings(app.get("networks")))
        return _mapped(listed, mode == "container/bridge", names)
    discovery = mapping(mapping(app.get("ipAddress")).get("discovery"))
    return [Port(_name(item), _number(item.get("number")), None) for item in mappings(discovery.get("ports"))]


def wanted_port(app: Mapping[str, Any], name: str, index: int) -> Port:
    """The port of this name, or without one the port at this index.

    Raises:
        ClusterError: the app has no such port.
    """
    ports = app_ports(app)
    found = [port for port in ports if port.name == name] if name else ports[index : index + 1]
    if found:
        return found[0]
    wish = f"port named {name!r}" if name else f"port {index}"
    listed = ", ".join(f"{place} {port.name}".strip() for place, port in enumerate(ports)) or "none"
    raise ClusterError(f"app {app.get('id')} has no {wish}; its ports: {listed}")


def address(task: Mapping[str, Any], port: Port) -> HostPort | None:
    """Where a client reaches this port of the task; None when the answer does not say.

    Raises:
        ClusterError: what the answer says is no address, or it does not say which of several.
    """
    ports, host = _list(task.get("ports")), task.get("host")
    if host and port.host_index is not None and port.host_index < len(ports):
        return _checked(host, ports[port.host_index])
    own = [item["ipAddress"] for item in mappings(task.get("ipAddresses")) if item.get("ipAddress")]
    if len(own) > 1 and len(port.networks) > 1:
        raise ClusterError(
            f"port {port.name or port.container_port} of app {task.get('appId')} is in the networks "
            f"{' and '.join(port.networks)}, and Marathon does not say in which is {' or '.join(map(str, own))}: "
            "give its port mapping a hostPort, and in networkNames one of them"
        )
    if own and port.container_port:
        return _checked(own[0], port.container_port)
    return None


def _network_mode(app: Mapping[str, Any]) -> str:
    """`host`, `container/bridge` or `container`, as 1.5 and later call it."""
    networks = mappings(app.get("networks"))
    if networks:
        return str(networks[0].get("mode"))
    docker = mapping(mapping(app.get("container")).get("docker")).get("network")
    if docker in ("HOST", "BRIDGE"):
        return "host" if docker == "HOST" else "container/bridge"
    return "container" if docker or mapping(app.get("ipAddress")) else "host"


def _mapped(listed: list[Mapping[str, Any]], bridge: bool, networks: tuple[str, ...]) -> list[Port]:
    """In a bridge every mapping has a port of the host, on a network of its own only one that asks for it."""
    ports, host_index = [], 0
    for item in listed:
        on_host = bridge or item.get("hostPort") is not None
        # A bridge's container address means nothing outside its host.
        container_port = 0 if bridge else _number(item.get("containerPort"))
        ports.append(Port(_name(item), container_port, host_index if on_host else None, networks))
        host_index += on_host
    return ports


def _checked(host: Any, port: Any) -> HostPort:
    """What is printed goes into people's command lines: nothing but an address may."""
    found = HostPort.parse(str(HostPort(str(host), port)))
    if not _HOST.fullmatch(found.host):
        raise ClusterError(f"{str(found)!r}, which Marathon gives, is not an address")
    return found


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _name(item: Mapping[str, Any]) -> str:
    return str(item.get("name") or "")


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0
