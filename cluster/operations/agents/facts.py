"""Facts that a host tells of itself: clock, memory, cores, emulators; the addresses that it reaches over TCP."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass

from cluster.hosts.remote import Remote
from cluster.images.architecture import EMULATORS
from scripts.errors import ClusterError
from scripts.hostport import HostPort

_MACHINE = """
export LC_ALL=C
echo "clock $(date +%s.%N)"
echo "cores $(getconf _NPROCESSORS_ONLN)"
sed -n "s/^MemAvailable: *//p" /proc/meminfo | { read -r kib rest; echo "memory_kib $kib"; }
"""
# timeout(1) ends a host that drops packets; bash's /dev/tcp needs no program that may be missing.
_CONNECT = "export LC_ALL=C; command -v bash >/dev/null || exit {no_bash}; timeout {seconds} bash -c {command} 2>&1"
_NO_BASH, _TIMED_OUT = 44, 124
_CONNECT_S = 5


@dataclass(frozen=True)
class Machine:
    """A host's free memory, its cores, and its clock against ours: the difference, and how wrong that may be."""

    clock_ahead_s: float
    clock_doubt_s: float
    cores: int
    free_memory_mib: int


def machine(remote: Remote) -> Machine:
    """Ask the host about itself."""
    before = time.time()
    text = remote.step("ask about the machine", _MACHINE).decode(errors="replace")
    return parsed(remote.name, text, before, time.time())


def parsed(name: str, text: str, before: float, after: float) -> Machine:
    """Read a host's answer, which came between two times of our clock."""
    said = dict(line.split(maxsplit=1) for line in text.splitlines() if " " in line)
    try:
        unknown_s = 0.5 if "%N" in said["clock"] else 0  # busybox's date knows whole seconds alone
        ahead = float(said["clock"].replace("%N", "0")) + unknown_s - (before + after) / 2
        return Machine(ahead, (after - before) / 2 + unknown_s, int(said["cores"]), int(said["memory_kib"]) // 1024)
    except (KeyError, ValueError) as error:
        raise ClusterError(f"{name}: not a Linux host as we know it: it says {text.split()}") from error


def emulators(remote: Remote) -> list[str]:
    """Return what the host emulates, as the names of files; empty if it does not say."""
    return remote.run(f"LC_ALL=C ls {EMULATORS}").out.decode(errors="replace").split()


def unreachable(remote: Remote, address: HostPort) -> str:
    """Return why the host gets no TCP connection to an address, "" if it does."""
    connect = f"exec 3<>/dev/tcp/{shlex.quote(address.host)}/{address.port}"
    ran = remote.run(_CONNECT.format(no_bash=_NO_BASH, seconds=_CONNECT_S, command=shlex.quote(connect)))
    if ran.code in (0, _TIMED_OUT, _NO_BASH):
        return {0: "", _TIMED_OUT: "timed out", _NO_BASH: "cannot tell, as there is no bash"}[ran.code]
    first, *_ = ran.out.decode(errors="replace").splitlines() or [ran.reason]
    return first.rpartition(": ")[2]  # of `bash: line 1: connect: Connection refused`
