"""Policies of the broker that take messages out of our queues: whoever publishes or works is told which."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import Broker
from tests.integration.publishing import publish
from tests.integration.worker_rig import Rig

pytestmark = pytest.mark.broker


@pytest.fixture
def policy(rig: Rig) -> Iterator[str]:
    """The name of a policy that drops what is over ten messages, in all queues of this test."""
    name = f"drops-{rig.queue}"
    definition = {"max-length": 10, "overflow": "drop-head"}
    rig.api("PUT", f"policies/%2F/{name}", {"pattern": f"^{rig.queue}", "definition": definition, "apply-to": "queues"})
    yield name
    rig.api("DELETE", f"policies/%2F/{name}")


def test_publishing_to_a_queue_that_drops_names_the_policy(rig: Rig, broker: Broker, policy: str) -> None:
    ports = broker.settings.queue
    env = {"INVOKE_QUEUE_PORT": str(ports.port), "INVOKE_QUEUE_MANAGEMENT_PORT": str(ports.management_port)}
    lines = rig.tmp / "lines"
    lines.write_text("x\n" * 100)
    code, err = publish("-q", rig.queue, "--create", "--file", str(lines), env=env)
    assert code == 0, err
    assert rig.ready() == 10
    (warning,) = [line for line in err.splitlines() if policy in line]
    assert f"'{rig.queue}' (max-length 10 with drop-head)" in warning


def test_a_worker_names_the_policy_of_its_queues(rig: Rig, policy: str) -> None:
    worker = rig.worker("--management", rig.management, "cat")
    worker.says(policy, timeout_s=120)
    (warning,) = [line for line in worker.log.splitlines() if policy in line]
    for name in (rig.queue, rig.failed, f"{rig.queue}.retry.1s"):
        assert f"'{name}' (max-length 10 with drop-head)" in warning
    assert worker.stop() == 0
