"""Secret files of the apps of this machine: in .secrets/, each for its reader alone."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from cluster import credentials
from cluster.apps.app import SecretFile

_IN_CONTAINERS = "/run/secrets"


def place(project: str, file: SecretFile) -> Path:
    """Return the place of a file on this machine."""
    return credentials.SECRETS / f"{project}-{file.group}-{file.name}"


def place_in_container(file: SecretFile) -> str:
    """Return the place where a container sees a file: the folder that has it here is closed to the container's user."""
    return f"{file.folder or _IN_CONTAINERS}/{file.name}"


def write(project: str, files: Iterable[SecretFile]) -> None:
    """Write those files that have content into the very files that containers have mounted already."""
    for file in files:
        if not file.content:
            continue
        path = place(project, file)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(file.content)
        if os.getuid() == 0:
            os.chown(path, file.owner, -1)
