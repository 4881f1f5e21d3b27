"""The workers that a run finds on a cluster: a Marathon whose tasks a test scripts, a real broker, real workers."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.apps.component_apps import Work
from cluster.operations.wanted_workers import Wanted
from cluster.operations.workforce import Workforce, workers_ready
from cluster.settings import Settings
from tests.conftest import Broker
from tests.integration.marathon_rig import CHECKS, QUEUE_APP
from tests.integration.worker_rig import Rig
from tests.refusing import refusal
from tests.standin.server import Standin
from tests.standin.world import World
from tests.waiting import until

pytestmark = pytest.mark.broker

MC = "mc.r {alpha} 'a b'"


class Cluster:
    """A Marathon that has the queue, and the workers that a test says."""

    def __init__(self, standin: Standin, settings: Settings, queue: str) -> None:
        self.address, self.world = standin.address, standin.world
        self.settings, self.queue = settings, queue
        self.said: list[str] = []

    def put(self, app_id: str, definition: dict[str, Any]) -> None:
        self.world.put_app({"id": app_id, "labels": {"cluster.project": self.settings.project}, **definition})

    def workers(
        self, action: str = MC, options: str = "", *, at: str = "", app_id: str = "", alive: bool = True
    ) -> str:
        """Put workers there, as many as one; return their id."""
        app_id = app_id or f"/worker-{self.queue}"
        command = f"exec cluster_worker {at or f'-m {self.address} -a /amqp'} -q {self.queue} {options} -- {action}"
        self.put(app_id, {"cmd": command, "cpus": 1, "mem": 64, "healthChecks": CHECKS, "instances": 1})
        self.world.add_task(app_id, alive=True if alive else None)
        return app_id

    def ready(self, action: str = MC, **asked: Any) -> Workforce:
        wanted = Wanted(self.queue, action, **asked)
        return workers_ready(self.settings, wanted, at="", marathon=self.address, url="", say=self.said.append)

    def refusal(self, action: str = MC, **asked: Any) -> str:
        return refusal(self.ready, action, **asked)


@pytest.fixture
def cluster(broker: Broker, rig: Rig) -> Iterator[Cluster]:
    with Standin(World()) as standin:
        one = Cluster(standin, broker.settings, rig.queue)
        one.put("/amqp", {key: value for key, value in QUEUE_APP.items() if key != "id"})
        queue = broker.settings.queue
        one.world.add_task("/amqp", host="127.0.0.1", ports=(queue.port, queue.management_port))
        yield one


def test_without_workers_it_says_how_to_start_those_that_suit(cluster: Cluster) -> None:
    asked: dict[str, Any] = {"jobs": 2, "timeout_s": 1.5, "attempts": 5, "options": "--breaker 7 --backoff 2"}
    words = shlex.split(cluster.refusal(**asked).partition("./inv ")[2])
    found = dict(zip(words[1::2], words[2::2], strict=True))
    assert (words[0], found["-m"], found["-q"]) == ("worker.deploy", cluster.address, cluster.queue)
    work = Work.of(
        cluster.settings, action=found["--action"], jobs=int(found["--jobs"]), timeout_s=float(found["--timeout"]),
        attempts=int(found["--attempts"]), rest=found["--options"],
    )  # fmt: skip
    cluster.workers(shlex.join(work.action), shlex.join(work.options))
    assert cluster.ready(**asked).slots == 2


def test_workers_are_used_as_they_are(cluster: Cluster) -> None:
    cluster.workers(options="-j 3 --attempts 5")
    force = cluster.ready(attempts=5)
    assert (force.slots, force.flag, cluster.said) == (3, f" -m {cluster.address}", [])


@pytest.mark.parametrize(
    ("action", "asked", "named"),
    [
        ("mc.r {beta} 'a b'", {}, "{alpha}"),
        ("cat", {}, "{alpha}"),
        (MC, {"attempts": 4}, "--attempts 5"),
        (MC, {"timeout_s": 9}, "--timeout"),
        (MC, {"jobs": 1}, "--jobs 3"),
        (MC, {"options": "--breaker 7"}, "--breaker"),
    ],
)
def test_workers_that_run_otherwise_are_refused_by_name(
    cluster: Cluster, action: str, asked: dict[str, Any], named: str
) -> None:
    cluster.workers(options="-j 3 --attempts 5")
    for workers in (0, 1, 7):
        assert named in cluster.refusal(action, workers=workers, **asked)


def test_workers_under_another_id_are_found(cluster: Cluster) -> None:
    app_id = cluster.workers("cat", app_id="/mine")
    assert app_id in cluster.refusal()
    assert cluster.ready("cat").slots == 1


def test_all_apps_of_a_queue_must_run_the_action(cluster: Cluster) -> None:
    cluster.workers()
    cluster.workers("cat", app_id="/mine")
    assert "/mine" in cluster.refusal()
    cluster.workers(app_id="/mine")
    assert cluster.ready().slots == 2
    assert "/mine" in cluster.refusal(workers=5)


def test_workers_of_another_broker_or_of_nobody_known_are_not_taken_for_the_queues(cluster: Cluster, rig: Rig) -> None:
    cluster.workers(at="-u amqp://10.0.0.99:5672")
    assert "worker.deploy" in cluster.refusal()
    assert "amqp://10.0.0.99:5672" in cluster.refusal(workers=1)
    cluster.workers(at=f"-u {rig.url}", app_id="/mine")
    assert cluster.ready().slots == 1


def test_workers_that_nobody_deployed_there_are_named(cluster: Cluster, rig: Rig) -> None:
    rig.worker("cat").says("consuming from")
    for workers in (0, 1):
        assert "queue.url" in cluster.refusal("cat", workers=workers)


def test_workers_that_do_not_come_up_are_refused_at_once(cluster: Cluster) -> None:
    app_id = cluster.workers(alive=False)
    for workers in (0, 3):
        assert app_id.strip("/") in cluster.refusal(workers=workers)


def test_nobody_who_takes_messages_is_trouble(cluster: Cluster, rig: Rig) -> None:
    worker = rig.worker("cat")
    worker.says("consuming from")
    cluster.workers("cat")
    force = cluster.ready("cat")
    assert force.trouble() == ""
    worker.stop()
    assert repr(rig.queue) in until(force.trouble, "it is known that nobody takes any")
