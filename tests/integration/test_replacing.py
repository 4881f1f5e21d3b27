"""Workers of this machine that take the place of others, and fail."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.apps import one_machine as apps
from cluster.operations import run as running
from cluster.schedulers.process.scheduler import Process
from cluster.settings import Settings
from scripts.errors import ClusterError
from tests.conftest import own_settings
from tests.integration.worker_rig import Rig
from tests.waiting import until

Workers = Callable[..., list[str]]

# The good one holds its message until it is told otherwise, so that others wait.
HOLDS = "until test -e {go}; do sleep 0.1; done"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return own_settings(tmp_path, "process")


@pytest.fixture
def where(tmp_path: Path) -> Iterator[Process]:
    scheduler = Process("test", tmp_path / "run")
    yield scheduler
    for app in scheduler.status():
        scheduler.stop(app.id, now=True)


@pytest.fixture
def workers(settings: Settings, where: Process, rig: Rig) -> Workers:
    """Runs workers with an action, as `worker.run-local` does."""

    def run(action: str, instances: int = 1) -> list[str]:
        work = apps.worker_wish(
            settings, queue=rig.queue, action=action, url=rig.url, instances=instances, jobs=1, timeout_s=0,
            attempts=0, keep_alive=False, drain_s=0, rest="",
        )  # fmt: skip
        return running.run_workers(settings, work, "worker:v1", dry_run=False, say=print, where=where)

    return run


def test_an_action_that_dies_at_its_start_leaves_the_former_workers(workers, where, rig, tmp_path):
    workers(rig.action(HOLDS.format(go=tmp_path / "go")), instances=2)
    rig.publish(*[b"x"] * 5)
    until(lambda: rig.ready() == 3, "two in hand")
    (before,) = where.status()
    with pytest.raises(ClusterError, match=r"(?s)exit 1 .*put back: 2 of 2 instances run$"):
        workers(rig.action("echo no package called x >&2; exit 1", "dies"))
    (after,) = where.status()
    assert [one.name for one in after.instances] == [one.name for one in before.instances]
    assert after.running == 2
    (tmp_path / "go").touch()
    until(lambda: rig.ready() == 0, "the former action does them")


def test_one_that_cannot_be_started_leaves_them_untouched(workers, where, rig):
    workers(rig.action("cat"))
    before = where.as_it_runs(where.status()[0].id)
    script = rig.action("", "wrong")
    Path(script).write_text("#!/usr/bin/env Rscript3\n")
    with pytest.raises(ClusterError, match=r"Rscript3.*; the workers that run go on$"):
        workers(script)
    assert where.as_it_runs(where.status()[0].id) == before


def test_one_that_works_is_not_waited_for_longer_than_its_first_success(workers, where, rig, tmp_path, monkeypatch):
    monkeypatch.setattr("cluster.operations.replacing.WATCH_S", 600)
    workers(rig.action(HOLDS.format(go=tmp_path / "go")))
    rig.publish(*[b"x"] * 3)
    until(lambda: rig.ready() == 2, "one in hand")
    began = time.monotonic()
    assert len(workers(rig.action("cat", "works"))) == 1
    assert time.monotonic() - began < 300
