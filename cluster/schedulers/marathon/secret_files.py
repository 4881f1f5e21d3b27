"""Secret files of apps: put on the hosts over SSH, and named in the definition, which everyone may read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from cluster.apps.app import AppSpec, Volume
from cluster.credentials import WORKER_UID, SecretFile, folder_on_hosts
from cluster.hosts import files as host_files
from cluster.schedulers import BrokerLocation, Say
from cluster.settings import Settings
from scripts.marathon.access import ca_file
from scripts.password_file import secret_of

_GROUP = "worker"


def with_paths(app: AppSpec, project: str) -> AppSpec:
    """Return the app with its secret files as folders of the host, and their paths in its environment."""
    seen = {one.group: one.folder or folder_on_hosts(project, one.group) for one in app.secret_files}
    volumes = [Volume(folder_on_hosts(project, group), folder, read_only=True) for group, folder in seen.items()]
    paths = {one.env: f"{seen[one.group]}/{one.name}" for one in app.secret_files if one.env}
    return replace(app.with_env(paths), volumes=(*app.volumes, *volumes), secret_files=())


def put(settings: Settings, app: AppSpec, say: Say) -> None:
    """Put the secret files of an app on the host that it is pinned to, else on all agents."""
    if not app.secret_files:
        return
    hosts = [host_files.host_of(settings, app.pinned_to)] if app.pinned_to else host_files.agents(settings)
    host_files.put(settings, hosts, app.secret_files, f"put the secrets of {app.id} on the hosts", say)


def broker_location(address: str, queue_app: str, environ: Mapping[str, str] = os.environ) -> BrokerLocation:
    """Return how workers ask a Marathon for the queue; what opens it for this machine opens it for them."""
    found = {}
    for name in ("MARATHON_PASSWORD", "DCOS_ACS_TOKEN"):
        if secret := secret_of(name, environ):
            found[f"{name}_FILE"] = secret.encode() + b"\n"
    if path := ca_file("", environ):
        found["MARATHON_CA_FILE"] = Path(path).read_bytes()
    files = tuple(
        SecretFile(_GROUP, env.lower().replace("_", "-"), content, WORKER_UID, env) for env, content in found.items()
    )
    user = {"MARATHON_USER": environ["MARATHON_USER"]} if environ.get("MARATHON_USER") else {}
    return BrokerLocation(("-m", address, "-a", queue_app), env=user, secret_files=files)
