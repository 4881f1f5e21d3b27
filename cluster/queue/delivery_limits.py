"""Queues of an earlier version, without a limit of deliveries or with RabbitMQ's own: policies give them ours."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from cluster.queue.counts import beside
from scripts.amqp.management import Management
from scripts.amqp.queues import failed_queue, has_limit, queue_arguments

# So begin the names of our policies; a queue with another has one that a person gave.
_OURS = "delivery limit of "


def give(management: Management) -> list[str]:
    """Set a policy for each work queue that needs one, and one for the queues beside it; return lines on what was done.

    A queue has one policy only: where a person gave one, that stays, and the line says what to add to it.

    Raises:
        ServiceAway: the API does not answer.
        ClusterError: it refuses.
    """
    server = {"version": management.read("/api/overview").get("rabbitmq_version")}
    if not has_limit(server):
        return []
    # Without the figures: those of a broker that has just started come seconds later, and the policies with them.
    queues = management.read(management.place("queues") + "?disable_stats=true&enable_queue_totals=true")
    there = {queue["name"]: queue for queue in queues if queue.get("type") == "quorum"}
    policies = {policy["name"]: policy for policy in management.read(management.place("policies"))}
    lines: list[str] = []
    sides = {side for name in there for side in beside(name)}
    for name in sorted(there.keys() - sides):
        if failed_queue(name) in there:
            arguments = queue_arguments(name, server)
            wanted = [
                (f"{_OURS}{name}", [name], arguments[name]),
                (f"{_OURS}{name}.*", beside(name), arguments[failed_queue(name)]),
            ]
            for policy, names, limits in wanted:
                found = [there[one] for one in names if one in there]
                old = [one for one in found if one["arguments"].get("x-delivery-limit", -1) < 0]
                lines += _set(management, policy, old, _definition(limits), policies)
    return lines


def _set(
    management: Management,
    policy: str,
    queues: list[Mapping[str, Any]],
    definition: dict[str, Any],
    policies: Mapping[str, Mapping[str, Any]],
) -> Iterator[str]:
    theirs = [queue for queue in queues if not str(queue.get("policy") or policy).startswith(_OURS)]
    for queue in theirs:
        kept = policies.get(queue["policy"], {}).get("definition", {})
        if kept.get("delivery-limit", -1) < 0:
            yield f"queue {queue['name']!r} has no delivery limit: add to its policy {queue['policy']!r}: {definition}"
    names = [queue["name"] for queue in queues if queue not in theirs]
    pattern = f"^({'|'.join(map(re.escape, names))})$"
    wanted = {"pattern": pattern, "definition": definition, "apply-to": "quorum_queues", "priority": 0}
    if names and not wanted.items() <= policies.get(policy, {}).items():
        management.change("PUT", management.place("policies", policy), wanted)
        limit = definition["delivery-limit"]
        yield f"policy {policy!r} gives {', '.join(map(repr, names))} a delivery limit of {limit:,}"


def _definition(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a queue that a policy can have as well, and that concern the limit."""
    kept = ("x-delivery-limit", "x-dead-letter-", "x-overflow")
    return {name.removeprefix("x-"): value for name, value in arguments.items() if name.startswith(kept)}
