"""The network of the hosts, and the addresses that they keep."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_network
from typing import Any

from docker.errors import APIError
from docker.types import IPAMConfig, IPAMPool

from tests.hosts.leftovers import LABEL, owner

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
