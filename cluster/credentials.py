"""How a broker's user and password reach apps: the user in the environment, the password in a file."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from cluster.settings import ROOT, Settings
from scripts.amqp.broker import credentials, redacted, without_login

SECRETS = ROOT / ".secrets"

# The plain user of the worker's image (its Dockerfile), who reads the file when root started the worker.
WORKER_UID = 1000


@dataclass(frozen=True)
class HostFile:
    """A file with a secret that an app's hosts need; `owner` is a user's number there."""

    path: str
    content: bytes = field(repr=False)
    owner: int


def for_apps(url: str, settings: Settings, seen_as: str) -> tuple[str, dict[str, str], str]:
    """Return the URL without credentials, the environment variables that stand for them, and the password's file.

    A password in the URL, or in AMQP_PASSWORD or AMQP_PASSWORD_FILE of this process, is written to a file of mode
    0600 in .secrets/; nothing secret is in what is returned. Apps find the file at the path `seen_as`, where that is
    empty at its own. Without a password there is no file: its path is empty.
    """
    user, password = credentials(url)
    found = {"AMQP_USER": user} if user else {}
    path = str(_written(password, settings.project, redacted(url))) if password else ""
    if path:
        found["AMQP_PASSWORD_FILE"] = seen_as or path
    return without_login(url), found, path


def _written(password: str, project: str, place: str) -> Path:
    SECRETS.mkdir(mode=0o700, exist_ok=True)
    name = hashlib.sha256(place.encode()).hexdigest()[:12]
    path = SECRETS / f"{project}-broker-{name}"
    path.touch(mode=0o600)
    path.write_text(password + "\n", encoding="utf-8")
    if os.getuid() == 0:
        os.chown(path, WORKER_UID, -1)
    return path
