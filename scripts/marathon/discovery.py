"""Where an app runs, as Marathon tells it: which instance to use, and why there is none.

`pick` decides from Marathon's answers alone; `discover` asks.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scripts.errors import ClusterError, ServiceAway
from scripts.hostport import HostPort
from scripts.marathon.app_id import app_id
from scripts.marathon.app_ports import address, amount, mapping, mappings, wanted_port
from scripts.marathon.app_reasons import last_check, last_failure, waiting_for
from scripts.marathon.app_tasks import App, Task, is_healthy, is_outdated, moment, runs
from scripts.one_line import one_line

if TYPE_CHECKING:
    from scripts.marathon.api import Marathon

_POLL_S = 0.5


class NoInstance(ClusterError):
    """The app has no instance that can be used now; there may be one soon."""


@dataclass(frozen=True)
class Wish:
    """Which port of which app: the named one, else the one at the index, from 0, in the app's definition."""

    app_id: str
    port_name: str = ""
    port_index: int = 0


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
    """The address of a running instance of an app, asked of Marathon.

    Args:
        hosts: Marathon's addresses, `a:8080,b:8080` or URLs.
        app: the app's id, with or without the leading slash.
        port_name: the port of this name, else the one at `port_index` in the app's definition.
        ca: the file of the CA that https is checked with, else MARATHON_CA_FILE, else the system's.
        timeout_s: limit for one answer of one address.
        wait_s: how long to go on asking while there is no instance or no answer.
        waiting: told once why it waits.
        environ: has the credentials (see marathon_access).

    Raises:
        ServiceAway: Marathon cannot be reached.
        ClusterError: no such app, no instance, or an answer that cannot be used.
    """
    from scripts.marathon.api import Marathon, NotFound  # costs memory that a worker with a fixed broker shall not pay

    wish = Wish(app_id(app), port_name, port_index)
    marathon = Marathon(hosts, ca, timeout_s, environ)
    deadline = time.monotonic() + wait_s
    told = False
    while True:
        try:
            return pick(marathon.app(wish.app_id), wish)
        except (NoInstance, NotFound, ServiceAway) as failure:
            if time.monotonic() >= deadline:
                raise _explained(failure, marathon, wish.app_id) from failure
            if not told:
                waiting(str(failure))
                told = True
        time.sleep(min(_POLL_S, max(0.0, deadline - time.monotonic())))


def pick(app: App, wish: Wish) -> HostPort:
    """The address of an instance that runs, is healthy where the app has health checks, and is not being killed.

    One of the current version is taken if there is one: while an app is replaced, the old ones are about to go.

    Raises:
        NoInstance: there is none.
        ClusterError: the app has no such port.
    """
    port = wanted_port(app, wish.port_name, wish.port_index)
    running = [task for task in mappings(app.get("tasks")) if runs(task)]
    healthy = [task for task in running if is_healthy(app, task)]
    for task in sorted(healthy, key=lambda task: _rank(app, task)):
        found = address(task, port)
        if found:
            return found
    raise NoInstance(f"{_why_none(app, running, healthy)}{_last(app)}")


def _explained(failure: ClusterError, marathon: Marathon, wanted_id: str) -> ClusterError:
    """The failure with what else Marathon knows of it; what it does not tell is left out."""
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
    """Current ones first, of the outdated the newest; then the one that has run longest: everyone gets the same."""
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


def _last(app: App) -> str:
    failure = last_failure(app)
    return f"; the last one {failure}" if failure else ""
