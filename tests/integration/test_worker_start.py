"""The command line, the checks at the start, and how many run at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scripts.action.cgroup import cores
from tests.integration.worker_rig import Rig
from tests.waiting import until

pytestmark = pytest.mark.broker


@pytest.mark.parametrize(("name", "code"), [("not-there", 127), ("not-executable", 126)])
def test_a_command_that_cannot_be_run_takes_nothing(rig: Rig, name: str, code: int) -> None:
    rig.declare()
    rig.publish(b"x")
    (rig.tmp / "not-executable").write_text("#!/bin/sh\n")
    worker = rig.worker(str(rig.tmp / name), consuming=False)
    assert (worker.exit_code(), worker.log.count("\n")) == (code, 1)
    assert str(rig.tmp / name) in worker.log
    assert rig.ready() == 1


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
    slow = rig.action(f"touch {running}/$AMQP_MESSAGE_ID; {rig.gate.wait}")
    rig.worker("-j", "3", slow)
    rig.publish(*[b"x"] * 5)
    until(lambda: _count(running) == 3, "three run")
    assert rig.ready() == 2
    rig.worker("-j", "2", slow)
    until(lambda: _count(running) == 5, "a second worker takes the others")
    rig.gate.open()


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
