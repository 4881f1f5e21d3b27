"""Hosts of a run that was killed, which nobody would take away."""

from __future__ import annotations

import os
from typing import Any

import psutil

LABEL = "cluster.test-hosts"


def owner() -> str:
    """This process, as a label says it: a number may be given to another one later, but not with the same start."""
    return f"{os.getpid()}@{psutil.Process().create_time():.2f}"


def remove_leftovers(client: Any) -> None:
    """Remove the hosts and networks whose owner is no more."""
    for container in client.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True):
        if not _is_alive(container.labels[LABEL]):
            container.remove(v=True, force=True)
    for network in client.networks.list(filters={"label": LABEL}):
        if not _is_alive(network.attrs["Labels"][LABEL]):
            network.remove()


def _is_alive(label: str) -> bool:
    pid, _, started = label.partition("@")
    try:
        process = psutil.Process(int(pid))
        is_the_one = f"{process.create_time():.2f}" == started
        return is_the_one and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
