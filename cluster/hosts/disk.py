"""The disk under a folder of a host."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from cluster.hosts.remote import Remote


@dataclass(frozen=True)
class Disk:
    """A file system, in bytes."""

    total: int
    free: int


def disk_of(remote: Remote, folder: str, *, sudo: bool = False) -> Disk | None:
    """Ask for the disk under a folder; None if df cannot tell."""
    ran = remote.run(f"LC_ALL=C df -PB1 -- {shlex.quote(folder)} | tail -n 1", sudo=sudo)
    fields = ran.out.decode(errors="replace").split()
    return Disk(int(fields[1]), int(fields[3])) if len(fields) > 3 else None
