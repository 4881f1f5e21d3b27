"""The ports of an app as its definition lists them, and the address at which a task has one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scripts.errors import ClusterError
from scripts.hostport import HostPort
from scripts.json_values import mapping, mappings

# A name, an IPv4 or an IPv6 address.
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?")


@dataclass(frozen=True)
class Port:
    """A port of an app; `host_index` is its place among the ports that a task has of its host, if it has one.

    `networks` are those in which it is reached without a port of the host.
    """

    name: str
    container_port: int
    host_index: int | None
    networks: tuple[str, ...] = ()


def app_ports(app: Mapping[str, Any]) -> list[Port]:
    """Return the app's ports in the order of its definition."""
    networks = mappings(app.get("networks"))
    if not networks or networks[0].get("mode") == "host":
        return [Port(_name(item), 0, index) for index, item in enumerate(mappings(app.get("portDefinitions")))]
    is_bridge = networks[0].get("mode") == "container/bridge"
    names = tuple(str(network.get("name")) for network in networks)
    ports, host_index = [], 0
    for item in mappings(mapping(app.get("container")).get("portMappings")):
        # In a bridge every mapping has a port of the host, on a network of its own only one that asks for it.
        on_host = is_bridge or item.get("hostPort") is not None
        # A bridge's container address means nothing outside its host.
        container_port = 0 if is_bridge else item.get("containerPort") or 0
        ports.append(Port(_name(item), container_port, host_index if on_host else None, names))
        host_index += on_host
    return ports


def wanted_port(app: Mapping[str, Any], name: str, index: int) -> Port:
    """Return the port of this name, or without a name the port at this index."""
    ports = app_ports(app)
    found = [port for port in ports if port.name == name] if name else ports[index : index + 1]
    if found:
        return found[0]
    wanted = f"port named {name!r}" if name else f"port {index}"
    listed = ", ".join(f"{place} {port.name}".strip() for place, port in enumerate(ports)) or "none"
    raise ClusterError(f"app {app.get('id')} has no {wanted}; its ports: {listed}")


def address(task: Mapping[str, Any], port: Port) -> HostPort | None:
    """Return the address of this port of a task; None when the answer does not say."""
    ports, host = task.get("ports"), task.get("host")
    if host and isinstance(ports, list) and port.host_index is not None and port.host_index < len(ports):
        return _checked(host, ports[port.host_index])
    own = [item["ipAddress"] for item in mappings(task.get("ipAddresses")) if item.get("ipAddress")]
    if len(own) > 1 and len(port.networks) > 1:
        raise ClusterError(
            f"port {port.name or port.container_port} of app {task.get('appId')} is in the networks "
            f"{' and '.join(port.networks)}, and Marathon does not say in which is {' or '.join(map(str, own))}: "
            "give its port mapping a hostPort, and in networkNames one of them"
        )
    return _checked(own[0], port.container_port) if own and port.container_port else None


def _checked(host: Any, port: Any) -> HostPort:
    """Refuse all but an address: it is printed into people's command lines."""
    found = HostPort.parse(str(HostPort(str(host), port)))
    if not _HOST.fullmatch(found.host):
        raise ClusterError(f"{str(found)!r}, which Marathon gives, is not an address")
    return found


def _name(item: Mapping[str, Any]) -> str:
    return str(item.get("name") or "")
