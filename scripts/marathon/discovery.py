"""The address of an app under Marathon: the instance to use, or the reason why there is none.

`pick` decides from Marathon's answers alone; `discover` asks.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scripts.app_id import canonical_app_id
from scripts.errors import ClusterError, ServiceAway
from scripts.hostport import HostPort
from scripts.marathon.answers import App, Task, amount, is_healthy, is_outdated, mapping, mappings, moment, runs
from scripts.marathon.app_reasons import last_check, last_failure, waiting_for
from scripts.one_line import one_line

if TYPE_CHECKING:
    from scripts.marathon.api import Marathon

_POLL_S = 0.5

# A name, an IPv4 or an IPv6 address.
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?")


class NoInstance(ClusterError):
    """The app has no instance that can be used now; there may be one soon."""


def discover(
    hosts: str,
    app: str,
    *,
    port_name: str = "",
    port_index: int = 0,
    ca: str = "",
    timeout_s: float = 10,
    wait_s: float = 0,
    waiting: Callable[[str], None] = lambda reason: None,
    environ: Mapping[str, str] = os.environ,
) -> HostPort:
    """Ask Marathon for the address of a running instance of an app.

    Args:
        hosts: Marathon's addresses, `a:8080,b:8080` or URLs.
        app: the app's id, with or without the leading slash.
        port_name: the port of this name is meant, else the one at `port_index` of the app's definition.
        ca: the file of the CA that https is checked with, else MARATHON_CA_FILE, else the system's.
        timeout_s: limit for one answer of one address.
        wait_s: how long to go on asking while there is no instance or no answer.
        waiting: is called once with why it waits.
        environ: has the credentials (see `access`).

    Raises:
        ServiceAway: Marathon cannot be reached.
        ClusterError: no such app, no instance, or an answer that cannot be used.
    """
    from scripts.marathon.api import Marathon, NotFound  # costs memory that a worker with a fixed broker shall not pay

    app_id = canonical_app_id(app)
    marathon = Marathon(hosts, ca, timeout_s, environ)
    deadline = time.monotonic() + wait_s
    has_said = False
    while True:
        try:
            return pick(marathon.app(app_id), port_name, port_index)
        except (NoInstance, NotFound, ServiceAway) as failure:
            if time.monotonic() >= deadline:
                raise _explained(failure, marathon, app_id) from failure
            if not has_said:
                waiting(str(failure))
                has_said = True
        time.sleep(min(_POLL_S, max(0.0, deadline - time.monotonic())))


def pick(app: App, port_name: str = "", port_index: int = 0) -> HostPort:
    """Return the address of an instance that runs, is healthy where the app has health checks, and is not being killed.

    One of the current version is preferred: while an app is replaced, the old ones are about to go.
    """
    port = _wanted_port(app, port_name, port_index)
    running = [task for task in mappings(app.get("tasks")) if runs(task)]
    healthy = [task for task in running if is_healthy(app, task)]
    for task in sorted(healthy, key=lambda task: _rank(app, task)):
        if found := address(task, port):
            return found
    failure = last_failure(app)
    raise NoInstance(_why_none(app, running, healthy) + (f"; the last one {failure}" if failure else ""))


def _explained(failure: ClusterError, marathon: Marathon, wanted_id: str) -> ClusterError:
    """Add to a failure what else Marathon tells of it."""
    if isinstance(failure, ServiceAway):
        return failure
    try:
        if isinstance(failure, NoInstance):
            more = waiting_for(marathon.queue(), wanted_id)
        else:
            like = marathon.ids_with(wanted_id.rpartition("/")[2])
            more = f"there is {', '.join(like)}" if like else "deploy it first"
    except ClusterError:
        more = ""
    hint = f"; {more}" if more else ""
    return type(failure)(one_line(f"{failure}{hint} (Marathon at {marathon.place})", longest=1000))


def _rank(app: App, task: Task) -> tuple[bool, float, float, str]:
    """Order current ones first, of the outdated the newest; then who has run longest: everyone gets the same."""
    version, changed = moment(task.get("version")), moment(mapping(app.get("versionInfo")).get("lastConfigChangeAt"))
    outdated = is_outdated(app, task)
    newest = -version if outdated or not changed else 0.0
    return outdated, newest, moment(task.get("startedAt")), str(task.get("id"))


def _why_none(app: App, running: Sequence[Task], healthy: Sequence[Task]) -> str:
    if healthy:
        return f"app {app.get('id')} runs, but Marathon does not say at which address this port is"
    if running:
        check = last_check(app)
        return f"app {app.get('id')} is not healthy yet: {len(running)} running{f', {check}' if check else ''}"
    states = Counter(str(task.get("state") or "TASK_STAGING") for task in mappings(app.get("tasks")))
    # A task that has no agent yet is counted, but not listed.
    states["TASK_STAGING"] = max(states["TASK_STAGING"], int(amount(app.get("tasksStaged"))))
    counts = [f"{count} {state.removeprefix('TASK_').lower()}" for state, count in sorted(states.items()) if count]
    if app.get("instances") == 0:
        counts.append("it is scaled to 0 instances")
    return f"app {app.get('id')} has no running instance: {', '.join(counts) or 'none has been started'}"


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


def _wanted_port(app: Mapping[str, Any], name: str, index: int) -> Port:
    """Return the port of this name, or without a name the one at this index."""
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
