"""The ports of this machine that apps take: fixed ones, or such as are free."""

from __future__ import annotations

import random
import socket
from collections.abc import Sequence, Set
from contextlib import ExitStack

from cluster.apps.app import AppSpec, Port
from cluster.engine import port_holder
from scripts.errors import ClusterError
from scripts.hostport import HostPort

LOCALHOST = "127.0.0.1"  # the only address that anything is published on

_CHOSEN_FROM = (20_000, 31_000)


def choose_ports(ports: Sequence[Port], instances: int = 1) -> list[tuple[int, ...]]:
    """Return host ports for each instance: the fixed ones, else such as are free on 127.0.0.1 now, all different."""
    with ExitStack() as until_all_are_chosen:
        return [tuple(port.host or _free_port(until_all_are_chosen) for port in ports) for _ in range(instances)]


def _free_port(stack: ExitStack) -> int:
    """Return a port that no connection of this machine takes until the app listens: those are from 32768 on."""
    while True:
        port = random.randrange(*_CHOSEN_FROM)
        try:
            stack.enter_context(socket.socket()).bind((LOCALHOST, port))
        except OSError:
            continue
        return port


def port_is_free(port: int) -> bool:
    """Return True when a server could listen on this TCP port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a closed connection's TIME_WAIT is no server
        try:
            probe.bind((LOCALHOST, port))
        except OSError:
            return False
        return True


def refuse_used_ports(app: AppSpec, ours: Set[int]) -> None:
    """Refuse fixed ports that something listens on, unless they are `ours`: the deploy ends what holds them."""
    for port in app.ports:
        if port.host and port.host not in ours and "tcp" in port.protocol and not port_is_free(port.host):
            by = port_holder(port.host) or "another program (as root, ss -ltnp shows which)"
            raise ClusterError(
                f"deploy {app.id}: port {port.host} of this machine is in use by {by}: "
                "stop it, or set another port in invoke.yaml"
            )


def addresses(ports: Sequence[Port], host_ports: Sequence[int]) -> dict[str, HostPort]:
    """Return the addresses by the ports' names; a port without a name is called by its place: `0`, `1`."""
    return {
        port.name or str(index): HostPort(LOCALHOST, chosen)
        for index, (port, chosen) in enumerate(zip(ports, host_ports, strict=True))
    }
