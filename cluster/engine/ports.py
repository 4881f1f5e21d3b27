"""Addresses and TCP ports of this machine, and who listens there, so that an error can name them."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from docker.errors import DockerException
from docker.utils import parse_host

_CONTAINER_ID = re.compile(r"[0-9a-f]{64}")


def is_of_this_machine(engine: str) -> bool:
    """Tell whether an engine's address, such as `ssh://user@host`, is on this machine.

    So is the near end of a tunnel, and an address that makes no sense.
    """
    try:
        address = urlsplit(parse_host(engine))
        if address.scheme not in ("http", "https", "tcp", "ssh"):
            return True  # a socket
        found = socket.getaddrinfo(address.hostname, None, type=socket.SOCK_STREAM)
    except (DockerException, ValueError):
        return True  # who connects to it says what is wrong
    except OSError:
        return False
    own = {one.address for interface in psutil.net_if_addrs().values() for one in interface}
    return any(str(place[0]) in own or ip_address(str(place[0])).is_loopback for *_, place in found)


def who_listens(port: int, containers: Iterable[Any] = ()) -> str:
    """Name who listens on a port: `the container NAME`, `PROGRAM (process 123)`, "" for nobody.

    A container is known by the ports it publishes and by its processes (host network); `containers` are the SDK's.
    Only root sees the programs of other users.
    """
    by_id = {container.id: container for container in containers}
    for container in by_id.values():
        if port in published(container):
            return f"the container {container.name}"
    listeners = [c for c in _connections() if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port]
    if not listeners:
        return ""
    pid = next((listener.pid for listener in listeners if listener.pid), None)
    if not pid:
        return "a program of another user"
    container = by_id.get(_container_id(pid))
    return f"the container {container.name}" if container else _program(pid)


def published(container: Any) -> set[int]:
    """Return the ports of its machine that a container, the SDK's, publishes."""
    bindings = container.ports.values()
    return {int(binding["HostPort"]) for bound in bindings for binding in bound or ()}


def _connections() -> list[Any]:
    try:
        return list(psutil.net_connections(kind="tcp"))
    except psutil.AccessDenied:  # macOS shows them to root only
        return []


def _container_id(pid: int) -> str:
    try:
        match = _CONTAINER_ID.search(Path(f"/proc/{pid}/cgroup").read_text())
    except OSError:
        return ""
    return match[0] if match else ""


def _program(pid: int) -> str:
    try:
        return f"{psutil.Process(pid).name()} (process {pid})"
    except psutil.Error:
        return f"process {pid}"
