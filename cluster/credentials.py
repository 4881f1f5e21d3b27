"""Credentials on the disk: the folder of this machine, and the files that hosts need."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from cluster.settings import ROOT
from scripts.errors import ClusterError

T = TypeVar("T")

SECRETS = ROOT / ".secrets"

# The plain user of the worker's image (its Dockerfile), who reads the file when root started the worker.
WORKER_UID = 1000


def kept(path: Path, made: Callable[[Any], T], whose: str, remedy: str) -> T | None:
    """Return the login that a file has as JSON, of which it is `made`; None without the file.

    Raises:
        ClusterError: the file cannot be read, or holds no login, with the `remedy`.
    """
    try:
        return made(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ClusterError(f"{path}: {error.strerror}: it holds the login of {whose}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ClusterError(f"{path} holds no login: {remedy}") from None


def folder_on_hosts(project: str, group: str) -> str:
    """Return the folder in which hosts of a cluster have the secret files of a group."""
    return f"/etc/cluster/secrets/{project}/{group}"


@dataclass(frozen=True)
class HostFile:
    """A file with a secret that an app's hosts need; `owner` is a user's number there."""

    path: str
    content: bytes = field(repr=False)
    owner: int
