"""Debian packages, installed where this user may do so."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable

from scripts.errors import ClusterError

TIMEOUT_S = 900


def is_allowed() -> bool:
    """Tell whether this user is root on a machine with apt."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(packages: list[str], say: Callable[[str], None]) -> None:
    """Install packages with what they need, without what is merely recommended.

    The package lists may be empty or out of date: they are read when a first try fails. A source that cannot be read
    then need not be the one that matters.
    """
    names = " ".join(packages)
    say(f"installing {names} with apt-get")
    apt_get = ["apt-get", "-q", "-o"]
    command = [*apt_get, "DPkg::Lock::Timeout=300", "-y", "--no-install-recommends", "install", *packages]
    if not failure_of(command, TIMEOUT_S):
        return
    cause = failure_of([*apt_get, "APT::Update::Error-Mode=any", "update"], TIMEOUT_S)
    complaint = failure_of(command, TIMEOUT_S)
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
