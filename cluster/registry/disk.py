"""How much room a host has."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from cluster.hosts.remote import Remote
from scripts.errors import ClusterError


@dataclass(frozen=True)
class Room:
    """The file system of a folder, in bytes; `taken` is what the folder itself takes."""

    taken: int
    free: int
    total: int


def room(remote: Remote, folder: str) -> Room | None:
    """The room of a folder on a host; None where there is no such folder."""
    ran = remote.run(f"{_df(folder)}; du -sxB1 -- {shlex.quote(folder)}", sudo=True)
    lines = ran.out.decode(errors="replace").splitlines()
    if ran.code or len(lines) != 2:
        return None
    _, total, _, free, *_ = lines[0].split()
    return Room(int(lines[1].split()[0]), int(free), int(total))


def refuse_too_small(remote: Remote, folder: str, needed: int) -> None:
    """See that so many bytes fit before they are sent.

    Raises:
        ClusterError: they do not.
    """
    found = remote.run(_df(folder), sudo=True).out.decode(errors="replace").split()
    free = int(found[3]) if len(found) > 3 else needed
    if free < needed:
        raise ClusterError(
            f"{remote.name}: the disk is full where the Docker Engine keeps its data, {folder}: {free / 1e6:,.0f} MB "
            f"are free, and the image needs {needed / 1e6:,.0f} MB: docker system df there shows what takes the room"
        )


def _df(folder: str) -> str:
    return f"export LC_ALL=C; df -PB1 -- {shlex.quote(folder)} | tail -n 1"
