"""Settings of the broker, policies above all, that take messages out of our queues undone."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scripts.amqp.management import Management
from scripts.amqp.queues import DELIVERY_LIMIT, failed_queue

# The API has a new queue's policies with its first figures, which a quorum queue tells every five seconds.
_LOOK_EVERY_S = 2.0


def losses(management: Management, queue: str, names: Sequence[str], attempts: int, limit_s: float) -> list[str]:
    """Say what takes messages out of these queues, the work queue `queue` or beside it, in a line for each cause.

    `attempts`: how often a message of the work queue is tried; `limit_s`: how long to wait for what the API has only
    later. What it does not know by then is left out. Blocks.
    """
    deadline = time.monotonic() + limit_s
    causes: dict[str, dict[str, list[str]]] = {}
    for name in names:
        for cause, setting in _harms(_described(management, name, deadline), queue, attempts):
            causes.setdefault(cause, {}).setdefault(f"{name!r}", []).append(setting)
    return [
        f"{cause} can take messages undone out of "
        + ", ".join(f"{name} ({', '.join(settings)})" for name, settings in harms.items())
        for cause, harms in causes.items()
    ]


def delivery_limit(management: Management, name: str) -> int | None:
    """Return how often a message may return to this queue at most; None where there is no limit, or none is known."""
    found = _described(management, name, 0)
    limit = found.get("delivery_limit", _setting(found, "delivery-limit"))
    return limit if isinstance(limit, int) and limit >= 0 else None


def _described(management: Management, name: str, deadline: float) -> Mapping[str, Any]:
    """Return the queue with its effective policy; an empty one where that is not known in time."""
    while True:
        found = management.read(management.place("queues", name), absent=404)
        if not isinstance(found, dict):
            return {}
        if isinstance(found.get("effective_policy_definition"), dict):
            return found
        if time.monotonic() + _LOOK_EVERY_S > deadline:
            return _new(management, name)
        time.sleep(_LOOK_EVERY_S)


def _new(management: Management, name: str) -> Mapping[str, Any]:
    """Return a queue that has no figures yet: RabbitMQ 4 names its policy nevertheless, but no operator's policy."""
    path = management.place("queues", name) + "?disable_stats=true&enable_queue_totals=true"
    found = management.read(path, absent=404)
    if not isinstance(found, dict) or not isinstance(found.get("policy"), str):
        return {}
    policy = management.read(management.place("policies", found["policy"]), absent=404)
    return found | {"effective_policy_definition": policy["definition"]} if isinstance(policy, dict) else {}


def _harms(found: Mapping[str, Any], queue: str, attempts: int) -> Iterator[tuple[str, str]]:
    """Yield cause and setting of each by which messages go; those that come back to the work queue do not."""
    if not str(_setting(found, "overflow")).startswith("reject-publish"):  # which keeps all
        for key in ("max-length", "max-length-bytes"):
            if isinstance(most := _setting(found, key), int):
                yield _cause(found, key), f"{key} {most:,} with drop-head"
    if isinstance(unused_ms := _setting(found, "expires"), int):
        yield _cause(found, "expires"), f"expires {unused_ms / 1000:g} s"
    if found.get("name") not in (queue, failed_queue(queue)):
        return
    if isinstance(lives_ms := _setting(found, "message-ttl"), int):
        yield _cause(found, "message-ttl"), f"message-ttl {lives_ms / 1000:g} s"
    limit = found.get("delivery_limit", _setting(found, "delivery-limit"))
    needed, why = (attempts, "--attempts ") if found.get("name") == queue else (DELIVERY_LIMIT, "")
    if isinstance(limit, int) and 0 <= limit < needed:
        yield _cause(found, "delivery-limit"), f"delivery-limit {limit} (below {why}{needed})"


def _setting(found: Mapping[str, Any], key: str) -> Any:
    """Return the policy's value, else the argument's; of two numbers the smaller one counts."""
    values = [found.get("effective_policy_definition", {}).get(key), (found.get("arguments") or {}).get(f"x-{key}")]
    numbers = [value for value in values if isinstance(value, int)]
    return min(numbers) if numbers else values[0] or values[1]


def _cause(found: Mapping[str, Any], key: str) -> str:
    """Name who set a value, as far as can be known: the broker says of its two policies only what comes of them."""
    if key not in found.get("effective_policy_definition", {}):
        return "the queue's own settings"
    kinds = {"policy": "policy", "operator_policy": "operator policy"}
    given = [f"{words} {found[kind]!r}" for kind, words in kinds.items() if found.get(kind)]
    return " and ".join(given) or "a policy"
