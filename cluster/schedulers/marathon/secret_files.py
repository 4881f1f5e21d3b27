"""Secret files of apps: put on the hosts over SSH, and named in the definition, which everyone may read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from cluster.apps.app import AppSpec, SecretFile, Volume
from cluster.credentials import WORKER_UID, HostFile, folder_on_hosts
from cluster.hosts import files as host_files
from cluster.schedulers import BrokerLocation, Say
from cluster.settings import Settings
from scripts.errors import ClusterError
from scripts.password_file import password_in

_GROUP = "worker"


def with_paths(app: AppSpec, project: str) -> AppSpec:
    """Return the app with its secret files as folders of the host, and their paths in its environment."""
    seen = {one.group: one.folder or folder_on_hosts(project, one.group) for one in app.secret_files}
    volumes = [Volume(folder_on_hosts(project, group), folder, read_only=True) for group, folder in seen.items()]
    paths = {one.env: f"{seen[one.group]}/{one.name}" for one in app.secret_files if one.env}
    return replace(app.with_env(paths), volumes=(*app.volumes, *volumes), secret_files=())


def put(settings: Settings, app: AppSpec, say: Say) -> None:
    """Put the secret files of an app on the host that it is pinned to, else on all agents.

    Raises:
        ClusterError: nobody says which hosts those are, or one failed.
    """
    if not app.secret_files:
        return
    hosts = [host_files.host_of(settings, app.pinned_to)] if app.pinned_to else host_files.agents(settings)
    files = [
        HostFile(f"{folder_on_hosts(settings.project, one.group)}/{one.name}", one.content, one.owner)
        for one in app.secret_files
    ]
    host_files.put(settings, hosts, files, f"put the secrets of {app.id} on the hosts", say)


def broker_location(address: str, queue_app: str, environ: Mapping[str, str] = os.environ) -> BrokerLocation:
    """Return how workers ask a Marathon for the queue; what opens it for this machine opens it for them.

    Raises:
        ClusterError: a file that the environment names cannot be read.
    """
    found = {}
    for name in ("MARATHON_PASSWORD", "DCOS_ACS_TOKEN"):
        if environ.get(name):
            found[f"{name}_FILE"] = environ[name].encode() + b"\n"
        elif environ.get(f"{name}_FILE"):
            found[f"{name}_FILE"] = password_in(environ[f"{name}_FILE"], f"{name}_FILE").encode() + b"\n"
    if environ.get("MARATHON_CA_FILE"):
        found["MARATHON_CA_FILE"] = _content("MARATHON_CA_FILE", environ)
    files = tuple(
        SecretFile(_GROUP, env.lower().replace("_", "-"), content, WORKER_UID, env) for env, content in found.items()
    )
    user = {"MARATHON_USER": environ["MARATHON_USER"]} if environ.get("MARATHON_USER") else {}
    return BrokerLocation(("-m", address, "-a", queue_app), user, files)


def _content(name: str, environ: Mapping[str, str]) -> bytes:
    try:
        return Path(environ[name]).read_bytes()
    except OSError as error:
        raise ClusterError(f"{name}: {environ[name]}: {error.strerror}") from None
