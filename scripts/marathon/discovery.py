"""The address of an app under Marathon: the instance to use, or the reason why there is none.

`pick` decides from Marathon's answers alone; `discover` asks.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from scripts.app_id import canonical_app_id
from scripts.errors import ClusterError, ServiceAway
from scripts.hostport import HostPort
from scripts.json_values import amount, mapping, mappings
from scripts.marathon.app_ports import address, wanted_port
from scripts.marathon.app_reasons import last_check, last_failure, waiting_for
from scripts.marathon.app_tasks import App, Task, is_healthy, is_outdated, moment, runs
from scripts.one_line import one_line

if TYPE_CHECKING:
    from scripts.marathon.api import Marathon

T = TypeVar("T")

_POLL_S = 0.5


class NoInstance(ClusterError):
    """The app has no instance that can be used now; there may be one soon."""


def discover(hosts: str, app: str, *, port_name: str = "", port_index: int = 0, **how: Any) -> HostPort:
    """Ask Marathon for the address of a running instance of an app: of the port of this name, else at this index.

    The rest is as for `ask`.
    """
    return ask(hosts, app, lambda found: pick(found, port_name, port_index), **how)


def ask(
    hosts: str,
    app: str,
    choose: Callable[[App], T],
    *,
    ca: str = "",
    timeout_s: float = 10,
    wait_s: float = 0,
    waiting: Callable[[str], None] = lambda reason: None,
    environ: Mapping[str, str] = os.environ,
) -> T:
    """Ask Marathon for an app, and `choose` something of it.

    Args:
        hosts: Marathon's addresses, `a:8080,b:8080` or URLs.
        app: the app's id, with or without the leading slash.
        choose: raises NoInstance where something may be there soon.
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
            return choose(marathon.app(app_id))
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
    port = wanted_port(app, port_name, port_index)
    running = [task for task in mappings(app.get("tasks")) if runs(task)]
    healthy = [task for task in running if is_healthy(app, task)]
    for task in sorted(healthy, key=lambda task: _rank(app, task)):
        found = address(task, port)
        if found:
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
