"""Facts that a host tells of itself, the addresses that it reaches over TCP, and the findings on them."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass

from cluster.hosts.remote import Remote
from cluster.images.build import EMULATORS
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

# A worker's image with R takes 480 MB: room for a new one beside that which runs, while it is unpacked, and for logs.
LEAST_DISK_MIB = 2048
# From here on etcd warns of its peers' clocks (rafthttp: "clock difference against peer is too high [... > 1s]").
MOST_CLOCK_S = 1.0


@dataclass(frozen=True)
class Finding:
    """The answer to one question; red when it has a remedy."""

    text: str
    remedy: str = ""


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


def of_disk(folder: str, free_bytes: int) -> Finding:
    """Judge the room for images."""
    free_mib = free_bytes // 2**20
    remedy = f"{folder} has room for no more images: docker system prune there, or give it more room"
    return Finding(f"{free_mib / 1024:,.1f} GiB free", remedy if free_mib < LEAST_DISK_MIB else "")


def of_memory(machine: Machine, mem_mib: int) -> Finding:
    """Judge the room for one worker."""
    remedy = f"not one worker fits (worker.mem_mib is {mem_mib}): see what takes the memory there (top)"
    return Finding(
        f"{machine.free_memory_mib / 1024:,.1f} GiB free", remedy if machine.free_memory_mib < mem_mib else ""
    )


def of_clock(machine: Machine) -> Finding:
    """Judge the clock: red when it is wrong even if the doubt of the measurement is taken off."""
    is_wrong = abs(machine.clock_ahead_s) - machine.clock_doubt_s > MOST_CLOCK_S
    remedy = "certificates and logs go by the time: let NTP set the clock there and here (timedatectl set-ntp true)"
    return Finding(f"{machine.clock_ahead_s:+,.1f} s", remedy if is_wrong else "")


def of_password(wanted: Mapping[str, bytes], found: Mapping[str, bytes | None]) -> Finding:
    """Judge the files by which workers log in: their contents as wanted and as found, by path."""
    wrong = next((path for path, content in wanted.items() if found[path] != content), "")
    if not wrong:
        return Finding("yes")
    text, why = ("no", "is not there") if found[wrong] is None else ("another", "has another than .secrets/ here")
    remedy = f"{wrong}, with which workers log in, {why}: ./inv worker.deploy puts it on all of agents.hosts"
    return Finding(text, remedy)
