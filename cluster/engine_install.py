"""Debian's Docker Engine: installed and started, as root, on a machine that has none."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster import apt
from scripts.errors import ServiceAway

# What dockerd calls or reads, and Debian's package merely recommends, or leaves out, in one release or the other.
PACKAGES = ["docker.io", "iptables", "ca-certificates"]
DEADLINE_S = 60
POLL_S = 0.2
SETTLE_S = 2  # an init script returns before its pid file is there
LOG = "/var/log/dockerd.log"
SERVICE_LOG = "/var/log/docker.log"

_FIELD = re.compile(r'\b(msg|error)=("(?:[^"\\]|\\.)*"|\S+)')
_BAD_LINE = re.compile(r"failed to start daemon|level=(error|fatal)")

Connect = Callable[[], Any]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Way:
    """How dockerd is started (`command`, in the background), asked whether it runs, and what prints its log.

    Without `status` the command is dockerd itself.
    """

    command: list[str]
    log: list[str]
    status: list[str] | None = None


def is_allowed() -> bool:
    """Whether this user may install and start an engine here."""
    return apt.is_allowed()


def is_installed() -> bool:
    """Whether dockerd is on this machine."""
    return shutil.which("dockerd", path=apt.environment()["PATH"]) is not None


def install(say: Say) -> None:
    """Install dockerd where it is missing (ClusterError when apt-get cannot)."""
    if not is_installed():
        apt.install(PACKAGES, say)


def start(say: Say, connect: Connect) -> Any:
    """Start dockerd and return the client when it answers; `connect` makes one or raises ServiceAway.

    Raises:
        ServiceAway: it does not come up, with the last thing it said.
    """
    for way in ways(systemd=Path("/run/systemd/system").is_dir(), service=Path("/etc/init.d/docker").exists()):
        say(f"starting the Docker Engine: {' '.join(way.command)}")
        client = _client_after(way, connect)
        if client:
            return client
    raise ServiceAway(
        f"dockerd does not come up on this machine: {why(_output(way.log))}: "
        f"mend that, or set scheduler: process in invoke.yaml (a container may not be allowed to run containers)"
    )


def ways(systemd: bool, service: bool) -> list[Way]:
    """The ways to start dockerd on a machine, the best first.

    Debian's init script raises limits and gives up where it may not, so dockerd itself comes after it.
    """
    if systemd:
        log = ["journalctl", "-u", "docker", "-n", "50", "-o", "cat", "--no-pager"]
        return [Way(["systemctl", "start", "docker"], log, ["systemctl", "is-active", "docker"])]
    script = Way(["service", "docker", "start"], ["tail", "-n", "50", SERVICE_LOG], ["service", "docker", "status"])
    itself = Way(["dockerd"], ["tail", "-n", "50", LOG])
    return [script, itself] if service else [itself]


def why(log: str) -> str:
    """What went wrong according to dockerd's log: its last error, else its last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    line = ([line for line in lines if _BAD_LINE.search(line)] or lines or ["it did not say why"])[-1]
    fields = [value.strip('"').replace('\\"', '"') for _, value in _FIELD.findall(line)]
    return ": ".join(fields) or line


def _client_after(way: Way, connect: Connect) -> Any:
    if way.status is None:
        return _client_of_dockerd(way.command, connect)
    status = way.status
    return _wait(connect, lambda: _succeeds(status)) if _succeeds(way.command) else None


def _client_of_dockerd(command: list[str], connect: Connect) -> Any:
    """Start dockerd in a session of its own, so that it outlives this command and its terminal."""
    with Path(LOG).open("ab") as log:
        dockerd = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            cwd="/", env=apt.environment(), start_new_session=True,
        )  # fmt: skip
    client = _wait(connect, lambda: dockerd.poll() is None)
    if client is None:
        dockerd.terminate()
        dockerd.wait(DEADLINE_S)
    return client


def _wait(connect: Connect, is_alive: Callable[[], bool]) -> Any:
    """The client, as soon as the engine answers; None when it is dead or the time is over."""
    begin = time.monotonic()
    while time.monotonic() - begin < DEADLINE_S:
        try:
            return connect()
        except ServiceAway:
            if time.monotonic() - begin > SETTLE_S and not is_alive():
                return None
        time.sleep(POLL_S)
    return None


def _succeeds(command: list[str]) -> bool:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=apt.environment(), timeout=DEADLINE_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False).stdout
