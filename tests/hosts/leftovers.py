"""Hosts of a run that was killed, which nobody would take away."""

from __future__ import annotations

import os
from typing import Any

import psutil

IMAGE = "cluster-test-host:latest"
CGROUPS = "/sys/fs/cgroup"
LABEL = "cluster.test-hosts"


def owner() -> str:
    """This process, as a label says it: a number may be given to another one later, but not with the same start."""
    return f"{os.getpid()}@{psutil.Process().create_time():.2f}"


def remove_leftovers(client: Any) -> None:
    """Remove the hosts and networks whose owner is no more."""
    for container in client.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True):
        if not _is_alive(container.labels[LABEL]):
            container.remove(v=True, force=True)
            remove_control_groups(client, container.name)
    for network in client.networks.list(filters={"label": LABEL}):
        if not _is_alive(network.attrs["Labels"][LABEL]):
            network.remove()


def remove_control_groups(client: Any, name: str) -> None:
    """Remove those of hosts with names that begin so: their engines made them, but they are the machine's, and stay."""
    command = ["find", CGROUPS, "-depth", "-type", "d", "-path", f"*/{name}*", "-exec", "rmdir", "{}", "+"]
    binds = [f"{CGROUPS}:{CGROUPS}:rw"]
    client.containers.run(IMAGE, command, volumes=binds, cgroupns="host", network_mode="none", remove=True)


def _is_alive(label: str) -> bool:
    pid, _, started = label.partition("@")
    try:
        process = psutil.Process(int(pid))
        is_the_one = f"{process.create_time():.2f}" == started
        return is_the_one and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
