"""Which agent an instance goes to: constraints and resources, as pure functions (Constraints.scala)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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
    attributes: Mapping[str, str] = field(default_factory=dict)

    def value(self, name: str) -> str | None:
        """What a constraint's field is on this agent."""
        return self.hostname if name in ("hostname", "@hostname") else self.attributes.get(name)


def choose(app: dict[str, Any], placed: Sequence[Offer], offers: Sequence[Offer]) -> tuple[Offer | None, list[str]]:
    """The first offer that fits and why the others before it did not; `placed`: the agents of the app's tasks."""
    reasons: list[str] = []
    for offer in offers:
        reason = why_not(app, placed, offer)
        if not reason:
            return offer, reasons
        reasons.append(reason)
    return None, reasons


def why_not(app: dict[str, Any], placed: Sequence[Offer], offer: Offer) -> str:
    """The first reason to decline this offer, in Marathon's order; empty: it fits."""
    fixed = [port for port in host_ports(app) if port]
    rules = (
        ("*" not in app.get("acceptedResourceRoles", ["*"]), "UnfulfilledRole"),
        (not all(_meets(each, placed, offer) for each in app.get("constraints", [])), "UnfulfilledConstraint"),
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


def _meets(constraint: list[str], placed: Sequence[Offer], offer: Offer) -> bool:
    name, operator, wanted = constraint[0], constraint[1].upper(), constraint[2] if len(constraint) == 3 else ""
    value, others = offer.value(name), [each.value(name) for each in placed]
    if operator in ("LIKE", "UNLIKE"):
        return bool(value and re.fullmatch(wanted, value)) == (operator == "LIKE")
    if operator == "UNIQUE":
        return value not in others
    if operator == "CLUSTER":
        return value == wanted if wanted else not others or others[0] == value
    raise ValueError(f"{operator}: this stand-in does not place tasks so")


def summary(reasons: Sequence[str], processed: int) -> list[dict[str, Any]]:
    """rejectSummaryLastOffers: each reason with how many offers came so far and how many it turned away."""
    left, lines = processed, []
    for reason in REASONS:
        declined = list(reasons).count(reason)
        lines.append({"reason": reason, "declined": declined, "processed": left})
        left -= declined
    return lines
