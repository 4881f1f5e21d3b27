"""Debian's packages, installed where this user may do so; and its Docker Engine, on a machine that has none."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from scripts.errors import ClusterError, ServiceAway

# What dockerd calls or reads, and Debian's package merely recommends, or leaves out, in one release or the other.
ENGINE = ["docker.io", "iptables", "ca-certificates"]
DEADLINE_S = 60
POLL_S = 0.2
SETTLE_S = 2  # an init script returns before dockerd is there
LOG = Path("/var/log/dockerd.log")

_APT_S = 900
_FIELD = re.compile(r'\b(msg|error)=("(?:[^"\\]|\\.)*"|\S+)')
_ERROR = re.compile(r"level=(error|fatal)")

_DOCKERD = ["dockerd"]

Connect = Callable[[], Any]
Say = Callable[[str], None]
# A command that starts dockerd in the background, or is dockerd itself, and one that prints dockerd's log.
Starter = tuple[list[str], list[str]]


def is_allowed() -> bool:
    """Tell whether this user is root on a machine with apt."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(packages: list[str], say: Say) -> None:
    """Install packages with what they need, without what is merely recommended.

    The package lists may be empty or out of date: they are read when a first try fails. A source that cannot be read
    then need not be the one that matters.
    """
    names = " ".join(packages)
    say(f"installing {names} with apt-get")
    apt_get = ["apt-get", "-q", "-o"]
    command = [*apt_get, "DPkg::Lock::Timeout=300", "-y", "--no-install-recommends", "install", *packages]
    if not failure_of(command, _APT_S):
        return
    cause = failure_of([*apt_get, "APT::Update::Error-Mode=any", "update"], _APT_S)
    complaint = failure_of(command, _APT_S)
    if complaint:
        raise ClusterError(f"apt-get could not install {names}: {cause or complaint}")


def complaint_of(output: str) -> str:
    """Find why apt-get or a tool that calls it failed: a full disk, else its first error, else its last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    full = [line for line in lines if "No space left on device" in line]
    errors = [line for line in lines if line.startswith(("E: ", "dpkg: error"))]
    return (full or errors or lines[-1:] or ["it did not say why"])[0].removeprefix("E: ")


def environment() -> dict[str, str]:
    """Return the environment for a system tool: no questions, English words, and the sbin folders of root."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
    return {**os.environ, "PATH": path, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}


def failure_of(command: list[str], limit_s: float) -> str:
    """Run a system tool and return why it failed, or "". A service that it starts would keep a pipe open, no file."""
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment(),
                timeout=limit_s, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"no end after {limit_s:g} s"
        output.seek(0)
        return complaint_of(output.read()) if done.returncode else ""


def has_engine() -> bool:
    """Tell whether dockerd is on this machine."""
    return shutil.which("dockerd", path=environment()["PATH"]) is not None


def install_engine(say: Say) -> None:
    """Install dockerd if it is missing."""
    if not has_engine():
        install(ENGINE, say)


def start_engine(say: Say, connect: Connect) -> Any:
    """Start dockerd and return the client when it answers; `connect` makes one or raises ServiceAway."""
    ways = starters(Path("/run/systemd/system").is_dir(), Path("/etc/init.d/docker").exists())
    for command, _ in ways:
        say(f"starting the Docker Engine: {' '.join(command)}")
        if command == _DOCKERD:
            client = _client_of_dockerd(connect)
        else:
            client = None if failure_of(command, DEADLINE_S) else _wait(connect, _dockerd_runs)
        if client:
            return client
    log = subprocess.run(ways[-1][1], capture_output=True, text=True, errors="replace", check=False).stdout
    raise ServiceAway(
        f"dockerd does not come up on this machine: {why(log)}: "
        f"mend that, or set scheduler: process in invoke.yaml (a container may not be allowed to run containers)"
    )


def starters(systemd: bool, service: bool) -> list[Starter]:
    """List the ways to start dockerd on a machine, the best first.

    Debian's init script raises limits and gives up where it may not, so dockerd itself comes after it.
    """
    if systemd:
        return [(["systemctl", "start", "docker"], ["journalctl", "-u", "docker", "-n", "50", "-o", "cat"])]
    script = (["service", "docker", "start"], ["tail", "-n", "50", "/var/log/docker.log"])
    itself = (_DOCKERD, ["tail", "-n", "50", str(LOG)])
    return [script, itself] if service else [itself]


def why(log: str) -> str:
    """Find in dockerd's log what went wrong: the last line it printed without a level, else the last error."""
    lines = [line.rstrip() for line in log.splitlines() if line.strip() and not line[0].isspace()]
    printed = [line for line in lines if "level=" not in line]
    errors = [line for line in lines if _ERROR.search(line)]
    line = (printed or errors or lines or ["it did not say why"])[-1]
    fields = [value.strip('"').replace('\\"', '"') for _, value in _FIELD.findall(line)]
    return ": ".join(fields) or line


def _client_of_dockerd(connect: Connect) -> Any:
    """Start dockerd in a session of its own, so that it outlives this command and its terminal."""
    if LOG.exists():
        LOG.replace(LOG.with_suffix(".log.1"))
    with LOG.open("wb") as log:
        dockerd = subprocess.Popen(
            _DOCKERD, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            cwd="/", env=environment(), start_new_session=True,
        )  # fmt: skip
    client = _wait(connect, lambda: dockerd.poll() is None)
    if client is None:
        dockerd.terminate()
        dockerd.wait(DEADLINE_S)
    return client


def _dockerd_runs() -> bool:
    """Tell whether a dockerd runs; a container's first process may leave dead ones as zombies."""
    processes = psutil.process_iter(["name", "status"])
    return any(one.info["name"] == "dockerd" and one.info["status"] != psutil.STATUS_ZOMBIE for one in processes)


def _wait(connect: Connect, is_alive: Callable[[], bool]) -> Any:
    """Return the client as soon as the engine answers; None when it is dead or the time is over."""
    begin = time.monotonic()
    while time.monotonic() - begin < DEADLINE_S:
        try:
            return connect()
        except ServiceAway:
            if time.monotonic() - begin > SETTLE_S and not is_alive():
                return None
        time.sleep(POLL_S)
    return None
