"""Which registries this machine's own Docker Engine trusts: it reads the CA's file for each push and pull."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

import docker

from cluster import engine
from cluster.atomic_file import write_atomically
from cluster.images.push_errors import CERTIFICATES

_OF_THIS_MACHINE = "http+docker://localhost"  # how the SDK calls an engine at a UNIX socket


def certificates(client: docker.DockerClient) -> Path:
    """Where this engine looks for the CAs of registries: a folder a registry."""
    if not engine.is_rootless(client):
        return CERTIFICATES
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(config) / "docker" / "certs.d"


def trust(client: docker.DockerClient, registry: str, ca: Path, say: Callable[[str], None]) -> None:
    """Let the engine trust what this CA says of the registry; where we may not, say the command that does it."""
    path = certificates(client) / registry / "ca.crt"
    command = f"sudo install -D -m 644 {shlex.quote(str(ca))} {shlex.quote(str(path))}"
    if client.api.base_url != _OF_THIS_MACHINE:
        say(f"the Docker Engine of DOCKER_HOST is on another machine, which has to trust {registry}, too: {path} there")
        return
    try:
        if _same(path, ca):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, ca.read_bytes(), mode=0o644)
    except OSError:  # we are not root, or the system's files are read-only
        say(f"let this machine's Docker Engine trust {registry}: {command}")
    else:
        say(f"this machine's Docker Engine trusts {registry} from now on: {path}")


def _same(path: Path, ca: Path) -> bool:
    return path.is_file() and path.read_bytes() == ca.read_bytes()
