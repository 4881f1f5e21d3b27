"""The logins of private registries on this machine: in .secrets/, a file a registry; else those of docker itself."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster import credentials
from cluster.files import write_atomically
from scripts.errors import ClusterError


@dataclass(frozen=True)
class Access:
    """A login of a registry, and the file of the CA that signed its certificate (None: one that the system trusts)."""

    user: str
    password: str = field(repr=False)
    ca: Path | None = None


def place(registry: str) -> Path:
    """Return where the login of a registry (`host:port`) is kept."""
    return credentials.SECRETS / f"registry-{registry}.json"


def for_registry(registry: str) -> Access | None:
    """Return the login that is kept for a registry in .secrets/, None where there is none."""

    def made(found: dict[str, Any]) -> Access:
        ca = credentials.SECRETS / found["ca"] if found.get("ca") else None
        return Access(str(found["user"]), str(found["password"]), ca)

    up = "`./inv registry.up --host HOST`"
    remedy = f'write {{"user": ..., "password": ..., "ca": ...}}, or delete it and run {up} again'
    access = credentials.kept(place(registry), made, registry, remedy)
    if access and access.ca and not access.ca.is_file():
        raise ClusterError(f"{access.ca} is missing, the CA of {registry}: {up} makes a new one")
    return access


def every() -> list[Access]:
    """Return all logins that are kept and can be read; a registry may have moved to another address since."""
    found = []
    for path in sorted(credentials.SECRETS.glob("registry-*.json")):
        with suppress(ClusterError):
            found.append(for_registry(path.name.removeprefix("registry-").removesuffix(".json")))
    return [access for access in found if access]


def auth_config(registry: str) -> dict[str, str]:
    """Return the login for one push or pull by the Docker SDK: the one kept here, else docker's own; empty for none."""
    kept = for_registry(registry)
    return {"username": kept.user, "password": kept.password} if kept else _of_docker(registry)


def access(registry: str) -> Access | None:
    """Return the login as `auth_config` finds it; None where there is none, or docker has a token alone."""
    if kept := for_registry(registry):
        return kept
    found = _of_docker(registry)
    return Access(found["username"], found["password"]) if found.get("username") else None


def _of_docker(registry: str) -> dict[str, str]:
    from cluster.engine import logins  # which loads Docker's SDK

    return logins.of(registry)


def keep(registry: str, access: Access) -> None:
    """Keep the login of a registry; does nothing where it is kept already."""
    ca = str(access.ca.relative_to(credentials.SECRETS)) if access.ca else ""
    content = json.dumps({"user": access.user, "password": access.password, "ca": ca}, indent=2) + "\n"
    path = place(registry)
    if not path.is_file() or path.read_text(encoding="utf-8") != content:
        write_atomically(path, content.encode())
