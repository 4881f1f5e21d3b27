"""A Mesos agent: a Docker Engine, and what it has to give."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from tests.standin.offers import Offer

# What Mesos offers when nothing else is said.
MESOS_PORTS = range(31000, 32001)


@dataclass(eq=False)
class Agent:
    """A host of the cluster.

    `read_file` reads a file of the host, for `fetch`; `ports` are those that it offers; `publish_on` is the address
    that published ports are bound to (all of them, as Mesos does; on a loopback host that one). The engine's client is
    the caller's, also to close. `id` is the world's.
    """

    hostname: str
    client: Any
    cpus: float = 4.0
    mem: float = 8192.0
    attributes: dict[str, str] = field(default_factory=dict)
    read_file: Callable[[str], bytes] | None = None
    ports: Iterable[int] = MESOS_PORTS
    publish_on: str = ""
    id: str = ""

    def __post_init__(self) -> None:
        self.publish_on = self.publish_on or (self.hostname if _is_loopback(self.hostname) else "")

    def offer(self, tasks: Iterable[Any]) -> Offer:
        """What is left beside these tasks of it."""
        tasks = list(tasks)
        return Offer(
            self.hostname,
            self.cpus - sum(task.definition["cpus"] for task in tasks),
            self.mem - sum(task.definition["mem"] for task in tasks),
            frozenset(self.ports).difference(*(task.ports for task in tasks)),
            self.attributes,
        )

    def pick_ports(self, asked: list[int], offered: frozenset[int]) -> list[int]:
        """Those that were asked for, and for each 0 one on which nothing listens."""
        left = sorted(offered.difference(asked))
        random.shuffle(left)
        free = (port for port in left if not self._listens(port))
        return [port or next(free) for port in asked]

    def _listens(self, port: int) -> bool:
        try:
            socket.create_connection((self.hostname, port), timeout=0.2).close()
        except OSError:
            return False
        return True


def _is_loopback(hostname: str) -> bool:
    try:
        return ip_address(hostname).is_loopback
    except ValueError:
        return hostname == "localhost"
