"""Queues that an earlier version has made."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.queue import delivery_limits
from scripts.amqp.management import Management
from scripts.amqp.queues import DELIVERY_LIMIT, has_limit
from tests.integration.worker_rig import Rig
from tests.waiting import until

pytestmark = pytest.mark.broker


@pytest.fixture
def management(rig: Rig) -> Management:
    if not has_limit(rig.server):
        pytest.skip("RabbitMQ 3 has no limit")
    return Management(rig.management, "guest", "guest", "/")


def limit_of(rig: Rig, queue: str) -> Any:
    return rig.api("GET", f"queues/%2F/{queue}").get("delivery_limit")


def test_a_policy_gives_them_the_limit_and_keeps_what_is_over_it(rig: Rig, management: Management) -> None:
    waiting = f"{rig.queue}.retry.1s"
    for name in (rig.queue, rig.failed, waiting):
        rig.declare(name, **{"x-delivery-limit": -1})
    lines = [line for line in delivery_limits.give(management) if f"'{rig.queue}'" in line or waiting in line]
    assert len(lines) == 2
    until(lambda: limit_of(rig, rig.queue) == DELIVERY_LIMIT, "it has the limit")
    until(lambda: limit_of(rig, waiting) == limit_of(rig, rig.failed) == 1_000_000, "so have the others")
    rig.publish(b"x")
    with rig.channel() as channel:
        for _ in range(DELIVERY_LIMIT + 1):
            tag = until(lambda: channel.basic_get(rig.queue)[0], "it is there again").delivery_tag
            channel.basic_reject(tag, requeue=True)
    (message,) = rig.take_failed()
    assert message.headers["x-last-death-reason"] == "delivery_limit"
    assert not [line for line in delivery_limits.give(management) if rig.queue in line]
    for policy in (rig.queue, f"{rig.queue}.*"):
        rig.api("DELETE", f"policies/%2F/delivery limit of {policy}")


def test_a_policy_that_a_person_gave_stays_and_is_named(rig: Rig, management: Management) -> None:
    theirs = f"policy-{rig.queue}"
    content = {"pattern": f"^{rig.queue}$", "definition": {"max-length": 1000}, "apply-to": "queues"}
    rig.api("PUT", f"policies/%2F/{theirs}", content)
    for name in (rig.queue, rig.failed):
        rig.declare(name, **{"x-delivery-limit": -1})
    (line,) = [line for line in delivery_limits.give(management) if f"'{rig.queue}'" in line]
    assert theirs in line
    until(lambda: limit_of(rig, rig.queue), "the broker's figures")
    assert limit_of(rig, rig.queue) == "unlimited"
    rig.api("DELETE", f"policies/%2F/{theirs}")
    rig.api("DELETE", f"policies/%2F/delivery limit of {rig.queue}.*")
