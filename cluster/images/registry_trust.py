"""The registries that this machine's own Docker Engine trusts: it reads a CA's file for each push and pull."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import docker

from cluster import engine
from cluster.files import write_atomically
from cluster.images.registry_errors import command_to_trust

CERTIFICATES = Path("/etc/docker/certs.d")  # a folder a registry

_OF_THIS_MACHINE = "http+docker://localhost"  # how the SDK calls an engine at a UNIX socket


def ca_file(client: docker.DockerClient, registry: str) -> Path:
    """Return where this engine looks for the CA of a registry."""
    folder = CERTIFICATES
    if engine.is_rootless(client):
        config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
        folder = Path(config) / "docker" / "certs.d"
    return folder / registry / "ca.crt"


def trust(client: docker.DockerClient, registry: str, ca: Path, say: Callable[[str], None]) -> None:
    """Let the engine trust what this CA says of the registry; where we may not, say the command that does it."""
    path = ca_file(client, registry)
    if client.api.base_url != _OF_THIS_MACHINE:
        say(f"the Docker Engine of DOCKER_HOST is on another machine, which has to trust {registry}, too: {path} there")
        return
    try:
        if path.is_file() and path.read_bytes() == ca.read_bytes():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, ca.read_bytes(), mode=0o644)
    except OSError:  # we are not root, or the system's files are read-only
        say(f"let this machine's Docker Engine trust {registry}: {command_to_trust(ca, path)}")
    else:
        say(f"this machine's Docker Engine trusts {registry} from now on: {path}")
