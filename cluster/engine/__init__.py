"""The Docker Engine: found as the docker command finds it, installed where it may be, its errors in one line."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import docker
import psutil
from docker.context import Context, ContextAPI
from docker.context.config import get_context_id, get_current_context_name
from docker.errors import DockerException
from docker.utils import parse_host
from docker.utils.config import find_config_file

from cluster.engine import debian
from cluster.engine import errors as engine_errors
from cluster.engine.errors import ENGINE_ERRORS
from scripts.errors import ClusterError, ServiceAway

PROBE_TIMEOUT_S = 10
TIMEOUT_S = 600  # a step of a build may be silent for minutes
SOCKET = "/var/run/docker.sock"

_CONTAINER_ID = re.compile(r"[0-9a-f]{64}")
# A DOCKER_HOST that is not an address, an ssh that ends early, a socket that is none: the SDK lets these through.
_CONNECT_ERRORS = (*ENGINE_ERRORS, OSError, ValueError, EOFError)


class NoEngine(ServiceAway):
    """Nothing answers at the usual places, and the user named no other."""


class OtherMachine(ClusterError):
    """The engine that is named runs on another machine, where nothing of this one's can be run."""


def connect() -> docker.DockerClient:
    """Connect to the engine of DOCKER_HOST, else of the docker context, else of this machine, rootless ones included.

    Raises:
        NoEngine: there is none; `ensure` may install one.
        ServiceAway: the one that was named does not answer, or an engine does not let this user in.
    """
    named = _named()
    return _connect_named(named) if named else _connect_local()


def connect_here() -> docker.DockerClient:
    """Connect as `connect` does, or raise OtherMachine: for what needs the ports and the files of this machine."""
    named = _named()
    if named and not is_of_this_machine(named.place):
        raise OtherMachine(
            f"{named.by} names the Docker Engine of another machine ({named.place}), which cannot run what is this "
            f"machine's: {named.undo}, or run ./inv there"
        )
    return connect()


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


def ensure(say: Callable[[str], None]) -> docker.DockerClient:
    """Connect as `connect` does; if there is no engine, install and start Debian's where this user may."""
    try:
        return connect()
    except NoEngine:
        if not debian.is_allowed():
            raise
    debian.install_engine(say)
    return debian.start_engine(say, connect)


def is_rootless(client: docker.DockerClient) -> bool:
    """Tell whether the engine runs as a plain user; the root of its containers is that user."""
    with docker_errors("ask the Docker Engine what it is"):
        return any("rootless" in option for option in client.info().get("SecurityOptions") or [])


@contextmanager
def docker_errors(doing: str) -> Iterator[None]:
    """Turn what the SDK raises into one-line errors that begin with `doing`, such as "start amqp"."""
    try:
        yield
    except ENGINE_ERRORS as error:
        raise engine_errors.explained(doing, error, port_holder, _data_folder) from error


def port_holder(port: int) -> str:
    """Name who listens on a TCP port of this machine: `the container NAME`, `PROGRAM (process 123)`, "" for nobody.

    A container is known by the ports it publishes and by its processes (host network), where an engine answers.
    Only root sees the programs of other users.
    """
    containers = _asked(lambda client: client.containers.list(ignore_removed=True))
    by_id = {container.id: container for container in containers or ()}
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


def _data_folder() -> str:
    return _asked(lambda client: str(client.info()["DockerRootDir"])) or ""


def _asked(question: Callable[[docker.DockerClient], Any]) -> Any:
    """Return an answer of the engine, None where it gives none."""
    with suppress(ClusterError, KeyError, *ENGINE_ERRORS), closing(connect()) as client:
        return question(client)
    return None


@dataclass(frozen=True)
class _Named:
    """An engine that the user named: its address, by what, how to undo that, and what makes a client of it."""

    place: str
    by: str
    undo: str
    make: Callable[..., docker.DockerClient]


def _named() -> _Named | None:
    if host := os.environ.get("DOCKER_HOST"):
        return _Named(host, "DOCKER_HOST", "unset DOCKER_HOST", docker.from_env)
    name = os.environ.get("DOCKER_CONTEXT") or get_current_context_name()
    if not name or name == "default":
        return None
    context = ContextAPI.get_context(name) if find_config_file() else _context_without_config(name)
    if context is None:
        raise ServiceAway(
            f"no docker context is called {name!r}: docker context use chooses one, or unset DOCKER_CONTEXT"
        )
    undo = "unset DOCKER_CONTEXT" if os.environ.get("DOCKER_CONTEXT") else "docker context use default"
    make = partial(docker.DockerClient, base_url=context.Host, tls=context.TLSConfig or False)
    return _Named(context.Host, f"the docker context {name!r}", undo, make)


def _context_without_config(name: str) -> Context | None:
    """Read a context as the docker command does; the SDK looks for them beside a config.json alone."""
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    try:
        meta = json.loads((folder / "contexts/meta" / get_context_id(name) / "meta.json").read_text(encoding="utf-8"))
        return Context(name, host=meta["Endpoints"]["docker"]["Host"])
    except (OSError, ValueError, KeyError):
        return None


def _connect_named(named: _Named) -> docker.DockerClient:
    try:
        return _open(named.place, named.make)
    except _CONNECT_ERRORS as error:
        if engine_errors.is_caused_by(error, PermissionError):
            raise _no_permission(named.place) from error
        raise ServiceAway(
            f"no Docker Engine answers at {named.place}, which {named.by} names ({engine_errors.reason(error)}): "
            "start it, or name another"
        ) from error


def _no_permission(place: str) -> ServiceAway:
    return ServiceAway(
        f"the Docker Engine at {place} does not let you in: sudo usermod -aG docker $USER, then log in again, "
        "or use a rootless engine"
    )


def _connect_local() -> docker.DockerClient:
    try:
        return _open_socket(SOCKET)
    except _CONNECT_ERRORS as error:
        with suppress(*_CONNECT_ERRORS):
            return _open_socket(f"{os.environ.get('XDG_RUNTIME_DIR') or f'/run/user/{os.getuid()}'}/docker.sock")
        if engine_errors.is_caused_by(error, PermissionError):
            raise _no_permission(SOCKET) from error
        if engine_errors.is_caused_by(error, FileNotFoundError, ConnectionRefusedError):
            raise NoEngine(
                f"no Docker Engine answers at {SOCKET}: {_how_to_get_one()}, or set scheduler: process in invoke.yaml"
            ) from error
        raise ServiceAway(f"the Docker Engine at {SOCKET} fails: {engine_errors.reason(error)}: see its log") from error


def _how_to_get_one() -> str:
    if debian.has_engine():
        return "it is installed but not running: sudo systemctl start docker, or run ./inv demo as root"
    return "run ./inv demo or ./inv test as root (they install one on Debian and Ubuntu), or install Docker"


def _open_socket(path: str) -> docker.DockerClient:
    url = f"unix://{path}"
    return _open(url, partial(docker.DockerClient, base_url=url))


def _open(url: str, make: Callable[..., docker.DockerClient]) -> docker.DockerClient:
    """Make a client of an engine that answers; its later steps may be silent for longer than its first answer."""
    if url.startswith("unix://"):
        _knock("/" + url.removeprefix("unix://").lstrip("/"))
    client = make(timeout=PROBE_TIMEOUT_S, use_ssh_client=True)
    client.api.timeout = TIMEOUT_S
    return client


def _knock(path: str) -> None:
    """Raise the system's own error where nobody listens; the SDK would leave a socket open."""
    with socket.socket(socket.AF_UNIX) as knock:
        knock.settimeout(PROBE_TIMEOUT_S)
        knock.connect(path)
