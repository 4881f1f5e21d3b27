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
class SecretFile:
    """A file whose content only the app may read; its engine chooses a place for it.

    Files of one `group` share a folder, which the app sees at `folder` (empty: where the engine likes); `owner` is the
    number of the user who may read it, and the variable `env` of the app's environment says where it is. Without
    content it is in its place already.
    """

    group: str
    name: str
    content: bytes = field(repr=False)
    owner: int
    env: str = ""
    folder: str = ""

    def path_on_hosts(self, project: str) -> str:
        """Return the place of the file on hosts of a cluster."""
        return f"{folder_on_hosts(project, self.group)}/{self.name}"
