"""What a host says of itself: clock, memory, cores, free disk; what it reaches over TCP."""

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
_KNOCK = "export LC_ALL=C; command -v bash >/dev/null || exit {no_bash}; timeout {seconds} bash -c {command} 2>&1"
_NO_BASH, _TIMED_OUT = 44, 124
KNOCK_S = 5


@dataclass(frozen=True)
class Machine:
    """What is free on a host; its clock against ours, in seconds, as far as that can be seen from here."""

    clock_ahead_s: float
    clock_doubt_s: float
    cores: int
    free_memory_mib: int


@dataclass(frozen=True)
class Disk:
    """The disk under a folder."""

    folder: str
    free_mib: int


def machine(remote: Remote) -> Machine:
    """Ask the host about itself."""
    before = time.time()
    text = remote.step("ask about the machine", _MACHINE).decode(errors="replace")
    return parsed(remote.name, text, before, time.time())


def parsed(name: str, text: str, before: float, after: float) -> Machine:
    """The host's words, said between two times of our clock."""
    said = dict(line.split(maxsplit=1) for line in text.splitlines() if " " in line)
    try:
        clock = float(said["clock"].replace("%N", "0"))  # busybox's date knows whole seconds alone
        doubt = (after - before) / 2 + (0.5 if "%N" in said["clock"] else 0)
        ahead = clock + (0.5 if "%N" in said["clock"] else 0) - (before + after) / 2
        return Machine(ahead, doubt, int(said["cores"]), int(said["memory_kib"]) // 1024)
    except (KeyError, ValueError) as error:
        raise ClusterError(f"{name}: not a Linux host as we know it: it says {text.split()}") from error


def disk(remote: Remote, folder: str) -> Disk:
    """Ask how much room is left where a folder is."""
    out = remote.step(f"ask for the room in {folder}", f"LC_ALL=C df -Pk -- {shlex.quote(folder)}").decode()
    try:
        return Disk(folder, int(out.splitlines()[-1].split()[3]) // 1024)
    except (IndexError, ValueError) as error:
        raise ClusterError(f"{remote.name}: df says of {folder}: {out.split()}") from error


def emulators(remote: Remote) -> list[str]:
    """Ask what the host emulates, as the names of files; none where it does not say."""
    return remote.run(f"LC_ALL=C ls {EMULATORS}").out.decode(errors="replace").split()


def unreachable(remote: Remote, address: HostPort) -> str:
    """Why the host gets no TCP connection to an address, "" when it does."""
    connect = f"exec 3<>/dev/tcp/{shlex.quote(address.host)}/{address.port}"
    ran = remote.run(_KNOCK.format(no_bash=_NO_BASH, seconds=KNOCK_S, command=shlex.quote(connect)))
    if ran.code == _TIMED_OUT:
        return "timed out"
    if ran.code == _NO_BASH:
        return "cannot tell, as there is no bash"
    if not ran.code:
        return ""
    first, *_ = ran.out.decode(errors="replace").splitlines() or [ran.reason]
    return first.rpartition(": ")[2]  # of `bash: line 1: connect: Connection refused`
