"""How much room a host has."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from cluster.hosts.disk import Disk, disk_of
from cluster.hosts.remote import Remote
from scripts.errors import ClusterError


@dataclass(frozen=True)
class Room:
    """The disk of a folder, and how many bytes of it the folder itself takes."""

    disk: Disk
    taken: int


def room(remote: Remote, folder: str) -> Room | None:
    """Ask for the room of a folder on a host; None where there is no such folder."""
    disk = disk_of(remote, folder, sudo=True)
    ran = remote.run(f"LC_ALL=C du -sxB1 -- {shlex.quote(folder)}", sudo=True)
    return None if ran.code or not disk else Room(disk, int(ran.out.split()[0]))


def refuse_too_small(remote: Remote, folder: str, needed: int) -> None:
    """See that so many bytes fit before they are sent.

    Raises:
        ClusterError: they do not.
    """
    disk = disk_of(remote, folder, sudo=True)
    if disk and disk.free < needed:
        raise ClusterError(
            f"{remote.name}: the disk is full where the Docker Engine keeps its data, {folder}: {disk.free / 1e6:,.0f} "
            f"MB are free, and the image needs {needed / 1e6:,.0f} MB: docker system df there shows what takes the room"
        )
