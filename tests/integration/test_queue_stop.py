"""Stopping a cluster's queue: what a person has to know to find its messages again."""

from cluster.operations import operate
from tests.conftest import SETTINGS
from tests.standin.server import Standin


def stopped(app_id: str) -> list[str]:
    """What is said when an app is stopped that is kept to agent2."""
    said: list[str] = []
    with Standin() as standin:
        labels, constraints = {"cluster.project": SETTINGS.project}, [["hostname", "CLUSTER", "agent2"]]
        standin.world.put_app({"id": app_id, "cmd": "sleep 1", "labels": labels, "constraints": constraints})
        operate.stop(operate.target(SETTINGS, app_id, "", standin.address, said.append), False, said.append)
        assert app_id not in standin.world.apps
    return said


def test_it_says_where_the_messages_stay_since_marathon_forgets() -> None:
    assert stopped("/amqp")[-1].endswith("deploy it again with --on agent2")


def test_workers_have_none() -> None:
    assert not any("--on" in line for line in stopped("/worker-q"))
