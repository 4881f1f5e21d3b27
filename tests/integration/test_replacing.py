"""Workers of this machine that take the place of others, and fail."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.apps.component_apps import Work
from cluster.apps.flags import AppOverrides
from cluster.operations.deploy import LOCAL_START_S, Rollout, deploy_workers
from cluster.schedulers import DeployOptions, Scheduler
from cluster.settings import Settings
from scripts.errors import ClusterError
from tests.conftest import engine_of, own_settings
from tests.integration.worker_rig import Rig
from tests.waiting import until

Workers = Callable[..., list[str]]

# The good one holds its message until it is told otherwise, so that others wait.
HOLDS = "until test -e {go}; do sleep 0.1; done"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return own_settings(tmp_path, "process")


@pytest.fixture
def engine(settings: Settings) -> Iterator[Scheduler]:
    engine = engine_of(settings)
    yield engine
    for app in engine.status():
        engine.stop(app.id, now=True)


@pytest.fixture
def workers(settings: Settings, engine: Scheduler, rig: Rig) -> Workers:
    """Runs workers with an action, as `worker.run-local` does."""

    def run(action: str, instances: int = 1) -> list[str]:
        work = Work.of(settings, queue=rig.queue, action=action, url=rig.url, jobs=1, drain_s=0)
        rollout = Rollout(engine, print, DeployOptions(timeout_s=LOCAL_START_S), is_watched=True)
        return deploy_workers(settings, rollout, work, overrides=AppOverrides(instances=instances))

    return run


def test_an_action_that_dies_at_its_start_leaves_the_former_workers(workers, engine, rig, tmp_path):
    workers(rig.action(HOLDS.format(go=tmp_path / "go")), instances=2)
    rig.publish(*[b"x"] * 5)
    until(lambda: rig.ready() == 3, "two in hand")
    (before,) = engine.status()
    with pytest.raises(ClusterError, match=r"(?s)exit 1 .*rolled back: 2 of 2 instances of what ran before run$"):
        workers(rig.action("echo no package called x >&2; exit 1", "dies"))
    (after,) = engine.status()
    assert [one.name for one in after.instances] == [one.name for one in before.instances]
    assert after.running == 2
    (tmp_path / "go").touch()
    until(lambda: rig.ready() == 0, "the former action does them")


def test_one_that_cannot_be_started_leaves_them_untouched(workers, engine, rig):
    workers(rig.action("cat"))
    before = engine.present(engine.status()[0].id)
    script = rig.action("", "wrong")
    Path(script).write_text("#!/usr/bin/env Rscript3\n")
    with pytest.raises(ClusterError, match=r"Rscript3.*; the workers that run go on$"):
        workers(script)
    assert engine.present(engine.status()[0].id) == before


def test_one_that_works_is_not_waited_for_longer_than_its_first_success(workers, engine, rig, tmp_path, monkeypatch):
    monkeypatch.setattr("cluster.operations.replacing.WATCH_S", 600)
    workers(rig.action(HOLDS.format(go=tmp_path / "go")))
    rig.publish(*[b"x"] * 3)
    until(lambda: rig.ready() == 2, "one in hand")
    began = time.monotonic()
    assert len(workers(rig.action("cat", "works"))) == 1
    assert time.monotonic() - began < 300
