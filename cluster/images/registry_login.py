"""The logins of private registries on this machine: in .secrets/, a file a registry; else those of docker itself."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cluster import credentials
from cluster.atomic_file import write_atomically
from cluster.engine import logins
from scripts.errors import ClusterError


@dataclass(frozen=True)
class Access:
    """Who we are at a registry, and the file of the CA that its certificate is of (None: one the system trusts)."""

    user: str
    password: str = field(repr=False)
    ca: Path | None = None

    @property
    def auth_config(self) -> dict[str, str]:
        """The login as the Docker SDK takes it for one push or pull."""
        return {"username": self.user, "password": self.password}


def place(registry: str) -> Path:
    """Where the login of a registry (`host:port`) is kept."""
    return credentials.SECRETS / f"registry-{registry}.json"


def for_registry(registry: str) -> Access | None:
    """The login of a registry; None where none is kept for it.

    Raises:
        ClusterError: its file is none of ours, or the CA that it names is not there.
    """
    path = place(registry)
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        ca = path.parent / kept["ca"] if kept.get("ca") else None
        access = Access(str(kept["user"]), str(kept["password"]), ca)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ClusterError(f"{path}: {error.strerror}: it holds the login of {registry}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ClusterError(
            f'{path} holds no login: write {{"user": ..., "password": ..., "ca": ...}}, or delete it and run '
            "`./inv registry.up --host` again"
        ) from None
    if access.ca and not access.ca.is_file():
        raise ClusterError(f"{access.ca} is missing, the CA of {registry}: `./inv registry.up --host` makes a new one")
    return access


def every() -> list[Access]:
    """All logins that are kept and can be read; a registry may have moved to another address since."""
    found = []
    for path in sorted(credentials.SECRETS.glob("registry-*.json")):
        with suppress(ClusterError):
            found.append(for_registry(path.name.removeprefix("registry-").removesuffix(".json")))
    return [access for access in found if access]


def access(registry: str) -> Access | None:
    """The login of a registry: the one kept here, else docker's own; None where there is none, or a token alone."""
    found = logins.of(registry) if for_registry(registry) is None else {}
    return Access(found["username"], found["password"]) if found.get("username") else for_registry(registry)


def auth_config(registry: str) -> dict[str, str]:
    """The login for one push or pull by the Docker SDK: the one kept here, else docker's own; empty for none."""
    access = for_registry(registry)
    return access.auth_config if access else logins.of(registry)


def refused(registry: str) -> str:
    """The line for a registry that does not let us in."""
    if for_registry(registry):
        return (
            f"the registry {registry} does not take the login in {place(registry)}: `./inv registry.up --host` sets "
            "that of a registry of ours right"
        )
    if logins.of(registry):
        return f"the registry {registry} does not take the login that docker has for it: docker login {registry}"
    return (
        f"the registry {registry} asks for a login, and there is none for it: take the .secrets/ that it was set up "
        f'with, or write {{"user": ..., "password": ...}} into {place(registry)}'
    )


def keep(registry: str, access: Access) -> None:
    """Keep the login of a registry; does nothing where it is kept already."""
    ca = str(access.ca.relative_to(credentials.SECRETS)) if access.ca else ""
    content = json.dumps({"user": access.user, "password": access.password, "ca": ca}, indent=2) + "\n"
    path = place(registry)
    if not path.is_file() or path.read_text(encoding="utf-8") != content:
        write_atomically(path, content.encode())
