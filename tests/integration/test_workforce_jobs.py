"""The workers that a run finds, or starts, as jobs: an engine that a test scripts, a real broker, real workers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.apps.app import AppSpec, Instance
from cluster.apps.component_apps import Work, options_of, worker_app
from cluster.apps.flags import AppOverrides
from cluster.operations import deploy, workforce
from cluster.operations.deploy import Rollout, deploy_workers
from cluster.operations.wanted_workers import Wanted, idle_workers
from cluster.operations.workforce import Workforce, workers_ready
from tests.conftest import Broker
from tests.integration.worker_rig import Rig
from tests.jobs import Jobs, as_engine, waiting
from tests.refusing import refusal
from tests.waiting import until

pytestmark = pytest.mark.broker


class Cluster:
    """Jobs whose queue is the tests' broker, which has a login that everybody knows."""

    def __init__(self, broker: Broker, queue: str) -> None:
        port = broker.settings.queue
        self.settings, self.queue = replace(broker.settings, scheduler="slurm"), queue
        self.jobs, self.said = Jobs(port.port, port.management_port), list[str]()
        self.jobs.apps["/amqp"] = AppSpec("/amqp")
        self.id = f"/worker-{queue}"

    def workers(self, action: str = "cat", instances: int = 1, **more: Any) -> AppSpec:
        engine = as_engine(self.jobs)
        work = Work.of(self.settings, queue=self.queue, action=action, jobs=2)
        words = engine.broker_for("/amqp").words
        app = worker_app(self.settings, engine, engine.image("w:v1"), work, words, AppOverrides(instances=instances))
        self.jobs.apps[self.id] = replace(app, **more)
        return app

    def ready(self, action: str = "cat", **asked: Any) -> Workforce:
        wanted = Wanted(self.queue, action, **asked)
        return workers_ready(self.settings, wanted, at="slurm", marathon="", url="", say=self.said.append)

    @property
    def idle_s(self) -> float | None:
        """After how many idle seconds the workers end."""
        options = options_of(self.jobs.apps[self.id])
        assert options
        return options.idle_s

    @property
    def wanted(self) -> tuple[int, int]:
        """How many instances are wanted, at least and at most."""
        app = self.jobs.apps[self.id]
        return app.instances, app.max_instances


@pytest.fixture
def cluster(broker: Broker, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    one = Cluster(broker, rig.queue)
    monkeypatch.setattr(workforce.selection, "connect", lambda *_: one.jobs)
    # The tests' broker lets guest in; a queue of jobs would have a login of its own.
    monkeypatch.setattr(deploy, "_workers_login", lambda *_: None)
    return one


def test_workers_that_find_the_queue_by_a_file_are_the_queue_s(cluster: Cluster) -> None:
    cluster.workers(instances=3)
    force = cluster.ready()
    assert (force.slots, force.flag, cluster.said) == (6, " --at slurm", [])
    cluster.jobs.apps[cluster.id] = replace(
        cluster.jobs.apps[cluster.id], command=f"exec cluster_worker -u @/other/file -q {cluster.queue} -- cat"
    )
    assert "worker.deploy" in refusal(cluster.ready)


def test_only_a_number_of_workers_starts_some(cluster: Cluster) -> None:
    assert "--workers" in refusal(cluster.ready)
    cluster.ready(workers=4)
    assert cluster.wanted == (4, 0)
    assert cluster.idle_s == 120
    cluster.ready(workers=4)  # which asks for no other workers than those


def test_workers_of_a_run_end_when_idle_as_is_said(cluster: Cluster) -> None:
    cluster.ready(workers=1, options="--idle 7")
    assert cluster.idle_s == 7


def test_workers_that_wait_are_as_good_as_running(cluster: Cluster, rig: Rig) -> None:
    cluster.workers(instances=20)
    cluster.jobs.waits = waiting(20, "Priority")
    force = cluster.ready(workers=20)
    assert (force.trouble(), cluster.said, force.slots) == ("", [], 40)
    assert "20 wait: Priority" in force.waiting()
    rig.worker("cat").says("consuming from")
    assert (force.trouble(), force.waiting()) == ("", "")


def test_workers_of_which_all_have_ended_are_trouble_and_are_started_again(cluster: Cluster) -> None:
    cluster.workers(instances=2)
    force = cluster.ready()
    assert force.trouble() == ""
    cluster.jobs.states[cluster.id] = [Instance("w-1", "stopped", detail="ended with exit code 127")]
    assert "w-1 ended with exit code 127" in force.trouble()
    assert force.waiting() == ""
    assert "--workers" in refusal(cluster.ready)
    cluster.ready(workers=3)
    assert cluster.wanted == (3, 0)
    assert cluster.id not in cluster.jobs.states


def test_workers_that_have_ended_come_back_with_what_they_were_given(cluster: Cluster) -> None:
    cluster.workers(instances=2, time_limit_s=600, mem_mib=77, image="earlier")
    cluster.jobs.states[cluster.id] = [Instance("w-1", "stopped")]
    cluster.ready(workers=5)
    app = cluster.jobs.apps[cluster.id]
    assert (app.instances, app.time_limit_s, app.mem_mib, app.image) == (5, 600, 77, "w:v1")
    cluster.jobs.states[cluster.id] = [Instance("w-1", "stopped")]
    cluster.ready("sleep 1", workers=5)  # another action is other workers
    assert cluster.jobs.apps[cluster.id].command.endswith("-- sleep 1")


def test_those_that_have_ended_are_made_up_for(cluster: Cluster) -> None:
    cluster.workers(instances=3)
    ended = [Instance(f"w-{number}", "stopped") for number in (1, 2)]
    cluster.jobs.states[cluster.id] = [Instance("w-0", "running"), *ended]
    cluster.ready(workers=3)
    assert cluster.wanted == (3, 0)
    assert cluster.id not in cluster.jobs.states


def test_as_many_as_the_queue_needs_are_left_in_peace(cluster: Cluster) -> None:
    cluster.workers(instances=0, max_instances=40)
    force = cluster.ready(workers=20)
    assert (cluster.wanted, force.slots) == ((0, 40), 80)
    assert "0 to 40" in cluster.said[0]
    assert (force.trouble(), force.waiting()) == ("", "")


def test_workers_that_come_when_there_is_work_have_a_queue_for_it(cluster: Cluster, rig: Rig) -> None:
    with rig.channel() as channel:
        channel.queue_delete(rig.queue)
    rollout, work = Rollout(as_engine(cluster.jobs), print), Work.of(cluster.settings, queue=rig.queue, action="cat")
    deploy_workers(cluster.settings, rollout, work, overrides=AppOverrides.of(max_instances=4))
    rig.publish(b"x")
    assert rig.ready() == 1


def test_an_action_that_has_changed_here_is_named(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.sh").touch(mode=0o755)
    cluster.workers("/shared/files/mine.sh")
    assert cluster.ready("./mine.sh").slots == 2
    cluster.workers("/shared/files/earlier/mine.sh")
    words = refusal(cluster.ready, "./mine.sh")
    assert "./inv worker.deploy --at slurm" in words
    assert "--action ./mine.sh" in words
    assert "./inv worker.deploy" not in refusal(cluster.ready, "./other.sh")


def test_a_number_of_workers_brings_an_action_that_has_changed_to_them(
    cluster: Cluster, rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.sh").touch(mode=0o755)
    cluster.workers("/shared/files/earlier/mine.sh '{1}'", time_limit_s=600)
    rig.declare()
    rig.publish(b"of somebody else")
    assert "1 message" in refusal(cluster.ready, "./mine.sh {1}", workers=3)
    rig.take()
    cluster.ready("./mine.sh {1}", workers=3)
    app = cluster.jobs.apps[cluster.id]
    assert app.command.endswith("-- /shared/files/mine.sh '{1}'")
    assert (app.instances, app.time_limit_s) == (3, 600)


def test_those_that_run_nothing_are_known_by_what_they_say(cluster: Cluster, rig: Rig, tmp_path: Path) -> None:
    action = rig.action(f"touch {tmp_path}/began; until test -e {tmp_path}/end; do sleep 0.1; done")
    for name in ("cluster-worker-7_1", "cluster-worker-7_2"):
        rig.worker(action, MESOS_TASK_ID=name).says("consuming from")
    cluster.workers(instances=2)
    ask: Callable[[], frozenset[str]] = lambda: idle_workers(cluster.settings, as_engine(cluster.jobs), cluster.id)  # noqa: E731
    assert until(ask, "they answer") == {"cluster-worker-7_1", "cluster-worker-7_2"}
    rig.publish(b"x")
    until((tmp_path / "began").exists, "one runs")
    assert len(ask()) == 1
    (tmp_path / "end").touch()
