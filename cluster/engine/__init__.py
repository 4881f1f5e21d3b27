"""The Docker Engine: found as the docker command finds it, installed where it may be, its errors in one line."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from cluster.engine import contexts, debian, sdk
from cluster.engine import errors as engine_errors
from cluster.engine.contexts import Named
from cluster.engine.errors import raised_by_sdk
from cluster.engine.unix_socket import EngineSocket, NoAnswer
from scripts.errors import ClusterError, ServiceAway

PROBE_TIMEOUT_S = 10
TIMEOUT_S = 600  # a step of a build may be silent for minutes
SOCKET = "/var/run/docker.sock"

_CONTAINER_ID = re.compile(r"[0-9a-f]{64}")


class NoEngine(ServiceAway):
    """Nothing answers at the usual places, and the user named no other."""


class OtherMachine(ClusterError):
    """The engine that is named runs on another machine, where nothing of this one's can be run."""


def connect() -> sdk.DockerClient:
    """Connect to the engine of DOCKER_HOST, else of the docker context, else of this machine, rootless ones included.

    Raises:
        NoEngine: there is none; `ensure` may install one.
        ServiceAway: the one that was named does not answer, or an engine does not let this user in.
    """
    named = contexts.named()
    return _connect_named(named) if named else _connect_local()


def connect_here() -> sdk.DockerClient:
    """Connect as `connect` does, or raise OtherMachine: for what needs the ports and the files of this machine."""
    named = contexts.named()
    if named and not is_of_this_machine(named.place):
        raise OtherMachine(
            f"{named.by} names the Docker Engine of another machine ({named.place}), which cannot run what is this "
            f"machine's: {named.undo}, or run ./inv there"
        )
    return connect()


def socket_here() -> EngineSocket | None:
    """Return the socket of the engine that `connect_here` would connect to, for questions that need no SDK.

    None where another engine is named, or this one does not answer as it should: `connect_here` says what is wrong.

    Raises:
        NoEngine, ServiceAway: none listens, as `connect`.
    """
    if os.environ.get("DOCKER_HOST") or contexts.context_name():
        return None
    with suppress(NoAnswer):
        return EngineSocket(_listening()[0], PROBE_TIMEOUT_S)
    return None


def is_of_this_machine(engine: str) -> bool:
    """Tell whether an engine's address, such as `ssh://user@host`, is on this machine.

    So is the near end of a tunnel, and an address that makes no sense.
    """
    try:
        address = urlsplit(sdk.utils.parse_host(engine))
        if address.scheme not in ("http", "https", "tcp", "ssh"):
            return True  # a socket
        found = socket.getaddrinfo(address.hostname, None, type=socket.SOCK_STREAM)
    except (sdk.errors.DockerException, ValueError):
        return True  # who connects to it says what is wrong
    except OSError:
        return False
    own = {one.address for interface in psutil.net_if_addrs().values() for one in interface}
    return any(str(place[0]) in own or ip_address(str(place[0])).is_loopback for *_, place in found)


def ensure(say: Callable[[str], None]) -> sdk.DockerClient:
    """Connect as `connect` does; if there is no engine, install and start Debian's where this user may."""
    try:
        return connect()
    except NoEngine:
        if not debian.is_allowed():
            raise
    debian.install_engine(say)
    return debian.start_engine(say, connect)


def is_rootless(client: sdk.DockerClient) -> bool:
    """Tell whether the engine runs as a plain user; the root of its containers is that user."""
    with docker_errors("ask the Docker Engine what it is"):
        return any("rootless" in option for option in client.info().get("SecurityOptions") or [])


@contextmanager
def docker_errors(doing: str) -> Iterator[None]:
    """Turn what the SDK raises into one-line errors that begin with `doing`, such as "start amqp"."""
    try:
        yield
    except raised_by_sdk() as error:
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


def _asked(question: Callable[[sdk.DockerClient], Any]) -> Any:
    """Return an answer of the engine, None where it gives none."""
    with suppress(ClusterError, KeyError, *raised_by_sdk()), closing(connect()) as client:
        return question(client)
    return None


def _connect_named(named: Named) -> sdk.DockerClient:
    try:
        return _open(named.place, named.make)
    except _connect_errors() as error:
        if engine_errors.is_caused_by(error, PermissionError):
            raise _no_permission(named.place) from error
        raise ServiceAway(
            f"no Docker Engine answers at {named.place}, which {named.by} names ({engine_errors.reason(error)}): "
            "start it, or name another"
        ) from error


def _connect_errors() -> tuple[type[BaseException], ...]:
    """Return what may come of a DOCKER_HOST that is not an address, an ssh that ends early, a socket that is none."""
    return (*raised_by_sdk(), OSError, ValueError, EOFError)


def _no_permission(place: str) -> ServiceAway:
    return ServiceAway(
        f"the Docker Engine at {place} does not let you in: sudo usermod -aG docker $USER, then log in again, "
        "or use a rootless engine"
    )


def _connect_local() -> sdk.DockerClient:
    first, *others = _listening()
    try:
        return _open_socket(first)
    except _connect_errors() as error:
        for path in others:
            with suppress(*_connect_errors()):
                return _open_socket(path)
        raise ServiceAway(f"the Docker Engine at {first} fails: {engine_errors.reason(error)}: see its log") from error


def _listening() -> list[str]:
    """Return the sockets at which an engine of this machine listens, the usual one before this user's own.

    Raises:
        NoEngine, ServiceAway: there is none, as `connect`.
    """
    found: list[str] = []
    problem: OSError = FileNotFoundError()
    rootless = f"{os.environ.get('XDG_RUNTIME_DIR') or f'/run/user/{os.getuid()}'}/docker.sock"
    for path in (rootless, SOCKET):
        try:
            _knock(path)
        except OSError as error:
            problem = error
        else:
            found.insert(0, path)
    if found:
        return found
    if isinstance(problem, PermissionError):
        raise _no_permission(SOCKET) from problem
    if isinstance(problem, FileNotFoundError | ConnectionRefusedError):
        raise NoEngine(
            f"no Docker Engine answers at {SOCKET}: {_how_to_get_one()}, or set scheduler: process in invoke.yaml"
        ) from problem
    raise ServiceAway(f"the Docker Engine at {SOCKET} fails: {problem.strerror}: see its log") from problem


def _how_to_get_one() -> str:
    if debian.has_engine():
        return "it is installed but not running: sudo systemctl start docker, or run ./inv demo as root"
    return "run ./inv demo or ./inv test as root (they install one on Debian and Ubuntu), or install Docker"


def _open_socket(path: str) -> sdk.DockerClient:
    url = f"unix://{path}"
    return _open(url, partial(sdk.DockerClient, base_url=url))


def _open(url: str, make: Callable[..., sdk.DockerClient]) -> sdk.DockerClient:
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
