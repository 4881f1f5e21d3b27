"""Credentials on the disk: the folder of this machine, and the files that hosts need."""

from __future__ import annotations

from dataclasses import dataclass, field

from cluster.settings import ROOT

SECRETS = ROOT / ".secrets"

# The plain user of the worker's image (its Dockerfile), who reads the file when root started the worker.
WORKER_UID = 1000

# Of files on hosts, in a folder a project.
_HOST_FOLDER = "/etc/cluster/secrets"


def folder_on_hosts(project: str, group: str) -> str:
    """Return the folder in which hosts of a cluster have the secret files of a group."""
    return f"{_HOST_FOLDER}/{project}/{group}"


@dataclass(frozen=True)
class HostFile:
    """A file with a secret that an app's hosts need; `owner` is a user's number there."""

    path: str
    content: bytes = field(repr=False)
    owner: int
