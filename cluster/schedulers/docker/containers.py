"""Containers of this project: what state they are in, whether they work, and how they are ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from docker.errors import APIError
from docker.models.containers import Container

from cluster.apps.app import AppSpec, Instance, State
from cluster.schedulers import waiting
from cluster.schedulers.docker.body import APP, NUMBER, PORTS, SOURCE
from cluster.schedulers.instances import addresses, kept_app
from cluster.schedulers.waiting import grace_s, let_finish

KILLED = 128 + 9  # how a shell and Docker tell of the signal KILL
GONE, CONFLICT, INTERNAL = 404, 409, 500  # HTTP: no such container; not in a state for this; the engine's own error
NEVER = {"Name": "no"}  # a restart policy
_ENDING_S = 10  # how long the engine may take to notice an end


def app_of(container: Container) -> AppSpec:
    """Return the app that a container was made for, as it was deployed."""
    return replace(kept_app(container.labels[SOURCE]), id=container.labels[APP])


def number_of(container: Container) -> int:
    """Return the number of an instance of its app."""
    return int(container.labels[NUMBER])


def host_ports_of(container: Container) -> tuple[int, ...]:
    """Return the host ports that were chosen for it."""
    return tuple(int(port) for port in container.labels[PORTS].split(",") if port)


def instance(container: Container) -> Instance:
    """Return a container as people know it."""
    state, detail = state_of(container)
    found = addresses(app_of(container).ports, host_ports_of(container))
    return Instance(container.name, state, container.attrs["Config"]["Image"], found, detail)


def state_of(container: Container) -> tuple[State, str]:
    """Return the state, and words about it."""
    state = container.attrs["State"]
    if state["Status"] == "restarting":
        return "unhealthy", f"{ended(container)}, starting again"
    if state["Status"] != "running":
        return "stopped", ended(container) if state["Status"] in ("exited", "dead") else state["Status"]
    health: State = state.get("Health", {}).get("Status", "healthy")
    if health in ("starting", "unhealthy") and not _works_now(container, health):
        return health, check_output(container)
    return "running", ""


def _works_now(container: Container, health: State) -> bool:
    """Look anew: Docker's checks are far apart, and what was paused is unhealthy until the next."""
    if app_of(container).health:
        return check_succeeds(container)
    return health != "unhealthy"  # by a check of the image's own


def ended(container: Container) -> str:
    """Return how its program ended, such as `ended with exit code 3`."""
    state, memory_mib = container.attrs["State"], container.attrs["HostConfig"]["Memory"] >> 20
    if state["OOMKilled"]:
        return f"was killed, since it used more than its {memory_mib} MiB of memory"
    if state["ExitCode"] == KILLED:  # not every engine sees that memory was the reason
        return f"was killed (exit code {KILLED}), as a program is that uses more than its {memory_mib} MiB of memory"
    return f"ended with exit code {state['ExitCode']}"


def is_ended(container: Container) -> bool:
    """Return True when its program has come to an end, be it that Docker starts it again."""
    return container.attrs["State"]["Status"] in ("exited", "dead", "restarting")


def works(container: Container) -> bool:
    """Return True when it runs and its health check succeeds; without a check, when it has run for a second."""
    if container.attrs["State"]["Status"] != "running":
        return False
    if app_of(container).health:
        return check_succeeds(container)
    started = datetime.fromisoformat(container.attrs["State"]["StartedAt"])
    return (datetime.now(UTC) - started).total_seconds() >= waiting.SETTLED_S


def check_succeeds(container: Container, timeout_s: float = 10) -> bool:
    """Run the health check now; Docker's own checks are far apart, so that they cost little."""
    check = app_of(container).health
    return not check or succeeds_in(container, check.command, timeout_s)


def succeeds_in(container: Container, command: str, timeout_s: float = 10) -> bool:
    """Run a shell command in the container."""
    api, deadline = container.client.api, time.monotonic() + timeout_s
    try:
        run = api.exec_create(container.id, ["/bin/sh", "-c", command])["Id"]
        api.exec_start(run, detach=True)
        while time.monotonic() < deadline:
            result = api.exec_inspect(run)
            if not result["Running"] and result["ExitCode"] is not None:
                return bool(result["ExitCode"] == 0)
            time.sleep(0.01)
    except APIError:
        return False  # it ended meanwhile, for which the engine has many words
    return False


def check_output(container: Container) -> str:
    """Return the first line of what the last health check that Docker ran has printed."""
    checks = container.attrs["State"].get("Health", {}).get("Log") or [{}]
    lines = str(checks[-1].get("Output", "")).strip().splitlines()
    return lines[0] if lines else ""


def last_lines(container: Container, count: int = 10) -> list[str]:
    """Return the last lines that it printed."""
    with ignored(GONE, CONFLICT):
        return str(container.logs(tail=count).decode(errors="replace")).splitlines()
    return []


def end(containers: Sequence[Container], say: Callable[[str], None], now: bool, drain: bool) -> None:
    """Let all finish within their grace, side by side, and remove them; `now` grants none, `drain` the longer one."""
    running = [] if now else [container for container in containers if container.status == "running"]
    for container in running:
        ask_to_stop(container)
    let_finish(
        {container.name: partial(_still_runs, container) for container in running},
        {container.name: grace_s(app_of(container), drain) for container in running},
        say,
    )
    for container in containers:
        with ignored(GONE, CONFLICT):  # someone else removed it, or is about to
            container.remove(force=True, v=True)  # v: volumes without a name; those with one stay


def ask_to_stop(container: Container) -> None:
    """Send the stop signal, and see that Docker does not start it again."""
    with ignored(GONE, CONFLICT):
        start_again(container, NEVER)
        container.kill(signal=container.attrs["Config"].get("StopSignal") or "SIGTERM")


def halt(container: Container) -> None:
    """End it and keep it, for its logs to be read."""
    with ignored(GONE, CONFLICT):
        start_again(container, NEVER)
        container.stop(timeout=0)


def start_again(container: Container, policy: Mapping[str, str]) -> None:
    """Say when Docker starts it again after its program has ended.

    While its program ends the engine refuses this, for which it has many words; a moment later it takes it.
    """
    deadline = time.monotonic() + _ENDING_S
    while True:
        try:
            container.update(restart_policy=policy)
            return
        except APIError as error:
            if error.status_code != INTERNAL or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _still_runs(container: Container) -> bool:
    with ignored(GONE):
        container.reload()
        return bool(container.status == "running")
    return False


@contextmanager
def ignored(*statuses: int) -> Iterator[None]:
    """Let answers of the engine with these HTTP statuses pass."""
    try:
        yield
    except APIError as error:
        if error.response is None or error.response.status_code not in statuses:
            raise
