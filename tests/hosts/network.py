"""The network of the hosts with the addresses that they keep, and what a run that was killed has left."""

from __future__ import annotations

import os
from contextlib import suppress
from ipaddress import ip_network
from typing import Any

import psutil
from docker.errors import APIError
from docker.types import IPAMConfig, IPAMPool

IMAGE = "cluster-test-host:latest"
CGROUPS = "/sys/fs/cgroup"
LABEL = "cluster.test-hosts"
_ATTEMPTS = 5


def make_network(client: Any, name: str) -> Any:
    """A network without a way out, where a container may ask for an address.

    The engine grants addresses only where the subnet was named, and knows alone which is free: it says it with a first
    network of the name, which makes room for the second.
    """
    for _ in range(_ATTEMPTS):
        first = client.networks.create(name, internal=True)
        first.reload()
        pool = first.attrs["IPAM"]["Config"][0]
        first.remove()
        ipam = IPAMConfig(pool_configs=[IPAMPool(subnet=pool["Subnet"], gateway=pool["Gateway"])])
        with suppress(APIError):  # somebody else was quicker
            network = client.networks.create(name, internal=True, ipam=ipam, labels={LABEL: owner()})
            network.reload()
            return network
    raise TimeoutError(f"no free subnet for the network {name}")


def gateway(network: Any) -> str:
    """This machine's address there."""
    return str(network.attrs["IPAM"]["Config"][0]["Gateway"])


def address(network: Any, number: int) -> str:
    """The address of the host with this number, from 1."""
    return str(ip_network(network.attrs["IPAM"]["Config"][0]["Subnet"])[10 + number])


def owner() -> str:
    """This process, as a label says it: a number may be given to another one later, but not with the same start."""
    return f"{os.getpid()}@{psutil.Process().create_time():.2f}"


def remove_leftovers(client: Any) -> None:
    """Remove the hosts, networks and volumes whose owner is no more."""
    for container in client.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True):
        if not _is_alive(container.labels[LABEL]):
            container.remove(v=True, force=True)
            remove_control_groups(client, container.name, container.attrs["Config"]["Image"])
    for network in client.networks.list(filters={"label": LABEL}):
        if not _is_alive(network.attrs["Labels"][LABEL]):
            network.remove()
    for volume in client.volumes.list(filters={"label": LABEL}):
        if not _is_alive(volume.attrs["Labels"][LABEL]):
            volume.remove()


def remove_control_groups(client: Any, name: str, image: str = IMAGE) -> None:
    """Remove those of hosts with names that begin so: their engines made them, but they are the machine's, and stay.

    It is done in a container of the image.
    """
    command = ["find", CGROUPS, "-depth", "-type", "d", "-path", f"*/{name}*", "-exec", "rmdir", "{}", "+"]
    binds = [f"{CGROUPS}:{CGROUPS}:rw"]
    client.containers.run(image, command, volumes=binds, cgroupns="host", network_mode="none", remove=True)


def _is_alive(label: str) -> bool:
    pid, _, started = label.partition("@")
    try:
        process = psutil.Process(int(pid))
        is_the_one = f"{process.create_time():.2f}" == started
        return is_the_one and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
