"""A Mesos agent: a Docker Engine and what it offers, and whether an instance fits there (Constraints.scala)."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

# What Mesos offers when nothing else is said.
MESOS_PORTS = range(31000, 32001)


@dataclass(eq=False)
class Agent:
    """A host of the cluster.

    `read_file` reads a file of the host, for `fetch`; `publish_on` is the address that published ports are bound to
    (all of them, as Mesos does; on a loopback host that one). The engine's client is the caller's, also to close. `id`
    is the world's.
    """

    hostname: str
    client: Any
    cpus: float = 4.0
    mem: float = 8192.0
    read_file: Callable[[str], bytes] | None = None
    id: str = ""

    @property
    def publish_on(self) -> str:
        return self.hostname if _is_loopback(self.hostname) else ""

    def offer(self, tasks: Iterable[Any]) -> Offer:
        """What is left beside these tasks of it."""
        tasks = list(tasks)
        return Offer(
            self.hostname,
            self.cpus - sum(task.definition["cpus"] for task in tasks),
            self.mem - sum(task.definition["mem"] for task in tasks),
            frozenset(MESOS_PORTS).difference(*(task.ports for task in tasks)),
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


# NoOfferMatchReason.scala, in the order in which an offer is looked at.
REASONS = (
    "UnfulfilledRole",
    "UnfulfilledConstraint",
    "NoCorrespondingReservationFound",
    "AgentMaintenance",
    "InsufficientCpus",
    "InsufficientMemory",
    "InsufficientDisk",
    "InsufficientGpus",
    "InsufficientPorts",
    "DeclinedScarceResources",
)


@dataclass(frozen=True)
class Offer:
    """What an agent has left."""

    hostname: str
    cpus: float
    mem_mib: float
    ports: frozenset[int]


def choose(app: dict[str, Any], offers: Sequence[Offer]) -> tuple[Offer | None, list[str]]:
    """The first offer that fits and why the others before it did not."""
    reasons: list[str] = []
    for offer in offers:
        reason = why_not(app, offer)
        if not reason:
            return offer, reasons
        reasons.append(reason)
    return None, reasons


def why_not(app: dict[str, Any], offer: Offer) -> str:
    """The first reason to decline this offer, in Marathon's order; empty: it fits."""
    fixed = [port for port in host_ports(app) if port]
    rules = (
        ("*" not in app.get("acceptedResourceRoles", ["*"]), "UnfulfilledRole"),
        (not all(_meets(each, offer) for each in app.get("constraints", [])), "UnfulfilledConstraint"),
        (app["cpus"] > offer.cpus + 1e-9, "InsufficientCpus"),
        (app["mem"] > offer.mem_mib, "InsufficientMemory"),
        (app["gpus"] > 0, "InsufficientGpus"),
        (len(host_ports(app)) > len(offer.ports) or not offer.ports.issuperset(fixed), "InsufficientPorts"),
    )
    return next((reason for refused, reason in rules if refused), "")


def host_ports(app: dict[str, Any]) -> list[int]:
    """The ports that a task takes on its agent, 0 for any."""
    if app["networks"][0]["mode"] == "host":
        fixed = app["requirePorts"]
        return [each["port"] if fixed else 0 for each in app.get("portDefinitions", [])]
    mappings = app.get("container", {}).get("portMappings", [])
    return [mapping["hostPort"] for mapping in mappings if mapping.get("hostPort") is not None]


def _meets(constraint: list[str], offer: Offer) -> bool:
    """What tests ask for alone."""
    if len(constraint) != 3 or constraint[:2] != ["hostname", "CLUSTER"]:
        raise ValueError(f"{constraint}: this stand-in does not place tasks so")
    return offer.hostname == constraint[2]


def summary(reasons: Sequence[str], processed: int) -> list[dict[str, Any]]:
    """rejectSummaryLastOffers: each reason with how many offers came so far and how many it turned away."""
    left, lines = processed, []
    for reason in REASONS:
        declined = list(reasons).count(reason)
        lines.append({"reason": reason, "declined": declined, "processed": left})
        left -= declined
    return lines
