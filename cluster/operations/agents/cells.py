"""What is green and what is red, and what to do about it: one answer of a host's check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cluster.operations.agents.facts import Disk, Machine

# A worker's image with R takes 480 MB: room for a new one beside that which runs, while it is unpacked, and for logs.
LEAST_DISK_MIB = 2048
# From here on etcd warns of its peers' clocks (rafthttp: "clock difference against peer is too high [... > 1s]").
MOST_CLOCK_S = 1.0


@dataclass(frozen=True)
class Cell:
    """One answer; red when there is something to do about it."""

    text: str
    remedy: str = ""


def disk_cell(disk: Disk) -> Cell:
    """Red when no image would fit."""
    remedy = (
        f"{disk.folder} has room for no more images: docker system prune there, or give it more room"
        if disk.free_mib < LEAST_DISK_MIB
        else ""
    )
    return Cell(f"{disk.free_mib / 1024:,.1f} GiB free", remedy)


def memory_cell(machine: Machine, mem_mib: int) -> Cell:
    """Red when not one worker would fit."""
    short = machine.free_memory_mib < mem_mib
    remedy = f"not one worker fits (worker.mem_mib is {mem_mib}): see what takes the memory there (top)"
    return Cell(f"{machine.free_memory_mib / 1024:,.1f} GiB free", remedy if short else "")


def clock_cell(machine: Machine) -> Cell:
    """Red when the difference is there for sure, whatever the question's way took."""
    ahead = machine.clock_ahead_s
    wrong = abs(ahead) - machine.clock_doubt_s > MOST_CLOCK_S
    remedy = "certificates and logs go by the time: let NTP set the clock there and here (timedatectl set-ntp true)"
    return Cell(f"{ahead:+,.1f} s", remedy if wrong else "")


def password_cell(wanted: Mapping[str, bytes], found: Mapping[str, bytes | None]) -> Cell:
    """Red when workers there could not log in; both are contents of the files that they read, by path."""
    wrong = [path for path, content in wanted.items() if found[path] != content]
    if not wrong:
        return Cell("yes")
    text, why = ("no", "is not there") if found[wrong[0]] is None else ("another", "has another than .secrets/ here")
    remedy = f"{wrong[0]}, with which workers log in, {why}: ./inv worker.deploy puts it on all of agents.hosts"
    return Cell(text, remedy)
