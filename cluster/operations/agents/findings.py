"""Findings of a host's check: green, or red with what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cluster.operations.agents.facts import Machine

# A worker's image with R takes 480 MB: room for a new one beside that which runs, while it is unpacked, and for logs.
LEAST_DISK_MIB = 2048
# From here on etcd warns of its peers' clocks (rafthttp: "clock difference against peer is too high [... > 1s]").
MOST_CLOCK_S = 1.0


@dataclass(frozen=True)
class Finding:
    """The answer to one question; red when it has a remedy."""

    text: str
    remedy: str = ""


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
