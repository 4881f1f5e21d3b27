"""The command line, the checks at the start, and how many run at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.action.cgroup import cores
from tests.integration.worker_rig import ROOT, Rig
from tests.waiting import until

pytestmark = pytest.mark.broker


def test_a_command_that_is_not_there_takes_nothing(rig: Rig) -> None:
    rig.declare()
    rig.publish(b"x")
    worker = rig.worker("/no/such/command", consuming=False)
    assert worker.exit_code() == 127
    assert worker.log == (
        "cluster_worker: error: /no/such/command is not there: give a command of PATH, or the path of a file\n"
    )
    assert rig.ready() == 1


def test_a_command_that_is_not_executable_takes_nothing(rig: Rig) -> None:
    rig.declare()
    rig.publish(b"x")
    script = rig.tmp / "script"
    script.write_text("#!/bin/sh\n")
    worker = rig.worker(str(script), consuming=False)
    assert worker.exit_code() == 126
    assert f"chmod +x {script}" in worker.log
    assert rig.ready() == 1


def test_wrong_usage_is_64(rig: Rig) -> None:
    worker = rig.worker("--attempts", "none", "cat", consuming=False)
    assert worker.exit_code() == 64
    assert worker.log.count("\n") == 1


def test_options_after_the_command_belong_to_the_command(rig: Rig) -> None:
    worker = rig.worker("--tag", "--", "echo", "--tag", "-q", "other")
    rig.publish(b"x")
    until(lambda: worker.out == b"m0\t--tag -q other\n", "the action's own arguments")


def test_the_launcher_runs_from_anywhere_through_a_link(rig: Rig) -> None:
    link = rig.tmp / "cluster_worker"
    link.symlink_to(ROOT / "scripts" / "cluster_worker")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    help_text = subprocess.run(
        [link, "--help"], capture_output=True, text=True, cwd=rig.tmp, env={**os.environ, "PATH": path}
    )
    assert help_text.returncode == 0
    assert "--until-empty" in help_text.stdout


def test_an_action_that_can_no_longer_be_started(rig: Rig) -> None:
    action = rig.action('echo ran; rm "$0"')
    worker = rig.worker("--prefetch", "3", action)
    rig.publish(b"a", b"b", b"c")
    assert worker.exit_code() == 1
    assert f"{action} cannot be started: No such file or directory: stopping" in worker.log
    assert worker.out == b"ran\n"
    messages = rig.take(count=2)
    assert {message.body for message in messages} == {b"b", b"c"}
    assert all("x-cluster-attempt" not in message.headers for message in messages)


def test_j_runs_so_many_at_once_and_prefetch_is_the_same(rig: Rig) -> None:
    running = rig.tmp / "running"
    running.mkdir()
    release = rig.tmp / "release"
    slow = rig.action(f"touch {running}/$AMQP_MESSAGE_ID; until [ -e {release} ]; do sleep 0.02; done")
    rig.worker("-j", "3", slow)
    rig.publish(*[b"x"] * 5)
    until(lambda: _count(running) == 3, "three run")
    assert rig.ready() == 2
    rig.worker("-j", "2", slow)
    until(lambda: _count(running) == 5, "a second worker takes the others")
    release.touch()


def test_a_larger_prefetch_holds_more_but_runs_no_more(rig: Rig) -> None:
    running = rig.tmp / "running"
    running.mkdir()
    rig.worker("-j", "1", "--prefetch", "4", rig.action(f"touch {running}/$AMQP_MESSAGE_ID; exec sleep 300"))
    rig.publish(*[b"x"] * 5)
    until(lambda: rig.ready() == 1, "four are held")
    until(lambda: _count(running) > 0, "one runs")
    assert _count(running) == 1


def test_j_0_is_one_a_core(rig: Rig) -> None:
    worker = rig.worker("-j", "0", "--prefetch", str(cores() - 1), "cat", consuming=False)
    if cores() > 1:
        assert worker.exit_code() == 64
        assert f"less than -j {cores()}" in worker.log
    assert cores() <= len(os.sched_getaffinity(0))


def _count(folder: Path) -> int:
    return len(list(folder.iterdir()))
