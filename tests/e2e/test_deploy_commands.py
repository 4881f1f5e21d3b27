"""What is done to an app on a cluster, by the commands that a person types; nothing runs but the stand-in."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.apps.app import AppSpec
from cluster.settings import ROOT
from tests.conftest import engine_of, own_settings
from tests.e2e.conftest import CommandLine
from tests.integration.marathon_rig import CHECKS, instances_come
from tests.standin.server import Standin
from tests.standin.world import World
from tests.waiting import until


@pytest.fixture
def line(tmp_path: Path) -> CommandLine:
    return CommandLine(own_settings(tmp_path, "process"))


@pytest.fixture
def marathon(line: CommandLine) -> Iterator[Standin]:
    """A Marathon with two workers of the queue My_Queue, in their second version."""
    with Standin() as standin:
        for mem in (65, 66):
            put(standin.world, line, mem=mem)
        for _ in range(2):
            standin.world.add_task("/worker-my-queue", host="127.0.0.1", alive=True)
        standin.world.apps["/worker-my-queue"].scripted = False
        yield standin


@pytest.fixture
def there(marathon: Standin) -> list[str]:
    """The flags that say which workers."""
    return ["-q", "My_Queue", "-m", marathon.address]


def put(world: World, line: CommandLine, **changes: Any) -> None:
    definition = {
        "id": "/worker-my-queue", "cmd": "sleep 1", "instances": 2, "env": {"QUEUE_NAME": "My_Queue"},
        "labels": {"component": "worker", "cluster.project": line.settings.project, "tag": f"worker:{changes['mem']}"},
        "healthChecks": CHECKS,
    }  # fmt: skip
    world.put_app(definition | changes)


def wanted(marathon: Standin, key: str) -> Any:
    return marathon.world.apps["/worker-my-queue"].definition[key]


def test_scale_restart_and_rollback(line: CommandLine, marathon: Standin, there: list[str]) -> None:
    with instances_come(marathon.world):
        line("worker.scale", *there, "--instances", "3")
        assert wanted(marathon, "instances") == 3
        before = {task.id for task in marathon.world.tasks()}
        done = line.try_("worker.restart", *there)
        assert (done.returncode, done.stderr) == (0, "/worker-my-queue: started anew, 3 instances up\n")
        assert before.isdisjoint(task.id for task in marathon.world.tasks())
        line("worker.rollback", *there)
    assert (wanted(marathon, "mem"), wanted(marathon, "instances")) == (65, 3)


def test_a_dry_run_of_a_rollback_lists_the_versions_and_what_would_change(
    line: CommandLine, marathon: Standin, there: list[str]
) -> None:
    done = line.try_("worker.rollback", *there, "--dry-run")
    newest, older, *changes = done.stderr.splitlines()
    versions = sorted(marathon.world.apps["/worker-my-queue"].history, reverse=True)
    assert newest.startswith(f"{versions[0]}  worker:66  2 instances")
    assert older.startswith(f"{versions[1]}  worker:65  2 instances")
    assert '  labels.tag: "worker:66" -> "worker:65"' in changes
    assert "  mem: 66 -> 65" in changes
    assert json.loads(done.stdout)["mem"] == 65
    assert wanted(marathon, "mem") == 66


def test_status_and_stop(line: CommandLine, marathon: Standin, there: list[str]) -> None:
    found = json.loads(line("status", "-m", marathon.address, "--json"))["apps"]
    assert [(app["id"], [one["state"] for one in app["instances"]]) for app in found] == [
        ("/worker-my-queue", ["running", "running"])
    ]
    line("worker.stop", *there)
    assert "nothing of the project" in line("status", "-m", marathon.address)


def test_logs_without_hosts_say_where_they_are(line: CommandLine, there: list[str]) -> None:
    done = line.try_("worker.logs", *there)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "agents.hosts" in done.stderr
    assert "MESOS_TASK_ID, such as worker-my-queue.instance-" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])
def test_a_signal_leaves_the_deployment_and_says_how_to_go_on(
    line: CommandLine, marathon: Standin, there: list[str], number: signal.Signals
) -> None:
    command = [sys.executable, "-m", "invoke", "worker.restart", *there]
    with subprocess.Popen(command, cwd=ROOT, env=line.environ, stderr=subprocess.PIPE, text=True) as restart:
        until(lambda: marathon.world.plans, "a deployment")
        asked = len(marathon.requests)
        until(lambda: len(marathon.requests) > asked + 3, "a deployment that is followed")
        restart.send_signal(number)
        restart.send_signal(number)  # fingers are quick
        _, err = restart.communicate(timeout=60)
    assert restart.returncode == 128 + number
    assert err == (
        f"error: interrupted: the deployment of /worker-my-queue goes on; ./inv status -m {marathon.address} shows how "
        f"far it is; to try again: ./inv worker.restart -m {marathon.address} -q My_Queue --app /worker-my-queue "
        "--force\n"
    )
    assert marathon.world.plans != []


def test_on_one_machine_the_same_commands_work_and_there_are_no_versions(line: CommandLine) -> None:
    here = engine_of(line.settings)
    app = AppSpec("/worker-mine", "exec sleep 1000")
    (before,) = here.apply(here.plan(app)).instances
    try:
        done = line.try_("worker.restart", "-q", "mine")
        assert (done.returncode, done.stderr) == (0, "/worker-mine: started anew, 1 instance up\n")
        done = line.try_("worker.rollback", "-q", "mine")
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "/worker-mine has no versions" in done.stderr
        assert "run-local with the earlier tag (-t)" in done.stderr
        assert before.name in line("status", "--json")
        assert app.id in line("status", "--at", "process")
        line("worker.stop", "-q", "mine", "--now")
        assert here.status() == []
    finally:
        here.stop("/worker-mine", now=True)


STAYS = "trap '' TERM; while :; do sleep 0.1; done"


@pytest.fixture
def mine(line: CommandLine) -> Iterator[list[str]]:
    """Two workers of this machine that take their time to end; their instances' names."""
    here = engine_of(line.settings)
    app = AppSpec("/worker-mine", STAYS, instances=2, labels={"drain": "600"}, env={"QUEUE_NAME": "mine"})
    yield [one.name for one in here.apply(here.plan(app)).instances]
    here.stop("/worker-mine", now=True)


def interrupted(line: CommandLine, *command: str) -> str:
    """What it says when it is interrupted while it waits for the workers."""
    with line.start(*command) as running:
        assert running.stderr
        said = ""
        while "waiting for" not in said:
            said = running.stderr.readline()
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    return err


def test_an_interrupted_restart_says_what_was_stopped_and_that_nothing_new_runs(
    line: CommandLine, mine: list[str]
) -> None:
    err = interrupted(line, "worker.restart", "-q", "mine")
    assert f"told to stop, to end by itself: {', '.join(mine)}; nothing new was started; run this again" in err


def test_an_interrupted_stop_says_what_was_told_to_stop(line: CommandLine, mine: list[str]) -> None:
    err = interrupted(line, "worker.stop", "-q", "mine")
    assert f"told to stop, to end by itself: {', '.join(mine)}; ./inv status shows" in err


def test_a_definition_of_ones_own_leaves_as_many_workers_as_there_are(
    line: CommandLine, mine: list[str], tmp_path: Path
) -> None:
    definition = tmp_path / "own.json"
    definition.write_text(json.dumps({"id": "/worker-mine", "cmd": "sleep 9", "env": {"QUEUE_NAME": "mine"}}))
    deploy = ("worker.run-local", "-q", "mine", "--definition", str(definition), "--dry-run")
    done = line.try_(*deploy)
    assert sorted(json.loads(done.stdout)) == mine
    assert "/worker-mine keeps its 2 instances" in done.stderr
    assert len(json.loads(line(*deploy, "--instances", "3"))) == 3
