"""Who listens on a TCP port of this machine, so that an error can name them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil

_CONTAINER_ID = re.compile(r"[0-9a-f]{64}")


def who_listens(port: int, containers: Iterable[Any] = ()) -> str:
    """The listener in words: `the container NAME`, `PROGRAM (process 123)`, or "" when there is none.

    A container is known by the ports it publishes and by its processes (host network); `containers` are the SDK's.
    The program of another user is visible to root only.
    """
    by_id = {container.id: container for container in containers}
    for container in by_id.values():
        if port in _published(container):
            return f"the container {container.name}"
    listeners = [c for c in _connections() if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port]
    if not listeners:
        return ""
    pid = next((listener.pid for listener in listeners if listener.pid), None)
    container = by_id.get(_container_id(pid)) if pid else None
    if container:
        return f"the container {container.name}"
    return _program(pid) if pid else "a program of another user"


def _published(container: Any) -> set[int]:
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
