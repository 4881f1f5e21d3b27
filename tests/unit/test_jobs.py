"""Deploys to an engine whose instances may wait, have a time limit, and come and go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster import credentials
from cluster.apps.app import AppSpec
from cluster.apps.component_apps import Work
from cluster.apps.flags import AppOverrides, time_limit
from cluster.components import QUEUE
from cluster.operations import operate
from cluster.operations.brokers import own_address, queue_at
from cluster.operations.deploy import Rollout, deploy_queue, deploy_workers
from cluster.operations.down import down
from cluster.operations.operate import Target
from cluster.schedulers import selection
from tests.conftest import SETTINGS
from tests.jobs import FILE, Jobs, as_engine, waiting
from tests.refusing import refusal


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Jobs:
    monkeypatch.setattr(credentials, "SECRETS", tmp_path / ".secrets")
    return Jobs()


def workers(jobs: Jobs, options: str = "", **flags: Any) -> str:
    """Deploy workers; return what is said."""
    said: list[str] = []
    work = Work.of(SETTINGS, action="sleep 1", rest=options)
    deploy_workers(SETTINGS, Rollout(as_engine(jobs), said.append), work, overrides=AppOverrides.of(**flags))
    return "\n".join(said)


def number(jobs: Jobs) -> tuple[int, int]:
    app = jobs.apps["/worker-myqueue"]
    return app.instances, app.max_instances


def test_a_queue_that_waits_is_no_failure(jobs: Jobs) -> None:
    said: list[str] = []
    jobs.waits = waiting(1, "Resources")
    assert deploy_queue(SETTINGS, Rollout(as_engine(jobs), said.append)) == []
    assert "(Resources)" in said[-1]
    assert QUEUE.app_id in jobs.apps


def test_workers_that_wait_are_no_failure(jobs: Jobs) -> None:
    jobs.waits = waiting(17, "Priority")
    assert "3 workers take messages of 'myqueue'; 17 wait: Priority" in workers(jobs, instances=20)
    assert workers(jobs, instances=17).count("0 workers take") == 1
    said: list[str] = []
    operate.scale(Target("/worker-myqueue", as_engine(jobs)), 18, said.append)
    assert "17 wait: Priority" in said[-1]


def test_how_many_is_what_flags_say_else_as_it_was(jobs: Jobs) -> None:
    assert (workers(jobs, max_instances=40), number(jobs))[1] == (0, 40)
    assert "0 to 40" in workers(jobs)
    assert number(jobs) == (0, 40)
    workers(jobs, instances=0, max_instances=80)
    assert number(jobs) == (0, 80)
    workers(jobs, instances=5)
    assert number(jobs) == (5, 0)
    workers(jobs, instances=5, max_instances=80)
    of = Target("/worker-myqueue", as_engine(jobs))
    operate.scale(of, -1, print, 60)
    assert number(jobs) == (5, 60)
    operate.scale(of, 0, print)
    assert number(jobs) == (0, 60)
    del jobs.apps["/worker-myqueue"]
    workers(jobs, instances=7)
    workers(jobs, max_instances=9)
    assert number(jobs) == (7, 9)


def test_more_at_least_than_at_most_is_refused(jobs: Jobs) -> None:
    words = refusal(workers, jobs, instances=41, max_instances=40)
    assert "--instances 41" in words
    assert "--max-instances 40" in words
    workers(jobs, max_instances=40)
    assert "--instances 50" in refusal(operate.scale, Target("/worker-myqueue", as_engine(jobs)), 50, print)
    assert number(jobs) == (0, 40)


def test_a_time_limit_that_is_shorter_than_that_of_an_action_is_refused(jobs: Jobs) -> None:
    words = refusal(workers, jobs, "--timeout 601", time="10")
    assert "--time (600 s)" in words
    assert "--timeout 601" in words
    assert jobs.apps == {}
    workers(jobs, "--timeout 600", time="10")
    assert jobs.apps["/worker-myqueue"].time_limit_s == 600


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", 0), ("90", 5400), ("4:00:00", 14_400), ("0:00:30", 30), ("1-12:00:00", 129_600), ("100:00:00", 360_000)],
)
def test_a_time_limit_is_read_as_slurm_writes_it(text: str, seconds: int) -> None:
    assert time_limit(text) == seconds


@pytest.mark.parametrize("text", ["0", "4:00", "1-12", "4h", "-5", "1:60:00", "0:00:00", "1.5", " 5", "٣"])
def test_a_time_limit_that_means_something_else_is_refused(text: str) -> None:
    assert repr(text) in refusal(time_limit, text)


def test_options_with_a_flag_of_their_own_are_the_engine_s_or_refused_by_the_flag(jobs: Jobs) -> None:
    overrides = AppOverrides.of(here=True, rabbitmq="/opt/rabbitmq", engine_options=["partition=long"])
    jobs.waits = waiting(1, "")
    deploy_queue(SETTINGS, Rollout(as_engine(jobs), print), overrides=overrides)
    assert dict(jobs.apps[QUEUE.app_id].engine_options) == {
        "partition": "long", "here": "yes", "rabbitmq": "/opt/rabbitmq",
    }  # fmt: skip
    jobs.options = ("partition",)
    words = refusal(deploy_queue, SETTINGS, Rollout(as_engine(jobs), print), overrides=overrides)
    assert words.startswith("--here: ")
    assert "--rabbitmq " in refusal(AppOverrides.of, rabbitmq="/a", engine_options=["rabbitmq=/b"])


def test_cpus_and_memory_go_to_an_engine_that_limits_them_and_folders_to_one_with_containers(jobs: Jobs) -> None:
    workers(jobs, cpus=2, mem_mib=4096)
    app = jobs.apps["/worker-myqueue"]
    assert (app.cpus, app.mem_mib) == (2, 4096)
    assert "--volume /a:/b" in refusal(workers, jobs, volumes=["/a:/b"])
    jobs.limits_resources = False
    assert "--cpus 2" in refusal(workers, jobs, cpus=2)


def test_an_action_of_this_folder_is_named_by_its_place_at_the_engine(
    jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.r").touch()
    for action, words in (
        ("./mine.r {1}", "-- /shared/files/mine.r '{1}'"),
        ("Rscript mine.r", "-- Rscript /shared/files/mine.r"),
        (f"{tmp_path}/mine.r", "-- /shared/files/mine.r"),
        ("wordcount.sh", "-- wordcount.sh"),
    ):
        deploy_workers(SETTINGS, Rollout(as_engine(jobs), print), Work.of(SETTINGS, action=action))
        assert jobs.apps["/worker-myqueue"].command.endswith(words)
        assert f"-u {FILE} " in jobs.apps["/worker-myqueue"].command


def test_this_machine_reaches_the_queue_by_another_way_than_its_instances(jobs: Jobs) -> None:
    there, here = own_address(SETTINGS, as_engine(jobs)), queue_at(SETTINGS, as_engine(jobs))
    assert (str(there.amqp), str(there.web)) == ("node1:20001", "node1:20002")
    assert (str(here.amqp), str(here.web)) == ("127.0.0.1:30001", "127.0.0.1:30002")
    assert replace(here, amqp=there.amqp, web=there.web) == there


def test_all_of_a_cluster_is_stopped_where_that_is_said(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    settings = replace(SETTINGS, scheduler="slurm")
    monkeypatch.setattr(selection, "connect", lambda *_: jobs)
    monkeypatch.setattr(selection, "of_this_machine", lambda *_: [])
    jobs.apps = {name: AppSpec(name) for name in (QUEUE.app_id, "/worker-a", "/worker-b")}
    down(settings, data=False, now=False, say=said.append)
    assert (len(jobs.apps), said[0].count("down --at slurm")) == (3, 1)
    down(settings, data=True, now=False, at="slurm", say=said.append)
    stopped = [line.split()[1] for line in said if line.startswith("stopping")]
    assert (jobs.apps, stopped) == ({}, ["/worker-a", "/worker-b", QUEUE.app_id])
    assert "data/amqp" in said[-1]
