"""work_left: the messages that wait, and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from scripts.amqp.queues import alone_queue, retry_queue
from scripts.amqp.work import work_of
from tests.integration.worker_rig import ROOT, Rig

pytestmark = pytest.mark.broker


def work_left(*words: str) -> tuple[int, str]:
    done = subprocess.run([ROOT / "scripts/work_left", *words], capture_output=True, text=True, check=False)
    assert done.stderr.count("\n") == (done.returncode in (3, 64))
    return done.returncode, done.stdout


def test_what_waits_is_counted_and_what_is_in_hand_is_not(rig: Rig) -> None:
    flags = ("-u", rig.url, "-q", rig.queue)
    assert work_left(*flags) == (1, "0\n")
    rig.worker(rig.action(rig.gate.wait))
    rig.publish(b"x")
    rig.gate.started()
    assert work_left(*flags) == (1, "0\n")
    rig.publish(b"x", b"y")
    for beside in (alone_queue(rig.queue), retry_queue(rig.queue, 64)):
        rig.declare(beside)
        rig.publish(b"z", queue=beside)
    found = work_of(rig.url, rig.queue)
    assert (found.ready, found.later, found.consumers, found.is_paused) == (2, 2, 1, False)
    assert retry_queue(rig.queue, 2) in found.absent
    assert work_of(rig.url, rig.queue, frozenset({alone_queue(rig.queue)})).later == 1
    assert work_left(*flags) == (0, "4\n")


def test_a_paused_queue_is_known(rig: Rig) -> None:
    rig.declare(f"{rig.queue}.paused")
    rig.declare()
    assert not work_of(rig.url, rig.queue).is_paused
    rig.publish(b"x")
    assert work_of(rig.url, rig.queue).is_paused
    with rig.channel() as channel:
        channel.queue_delete(f"{rig.queue}.paused")


def test_the_broker_is_where_the_file_says(rig: Rig, tmp_path: Path) -> None:
    file = tmp_path / "address"
    flags = ("-u", f"@{file}", "-q", rig.queue)
    assert work_left(*flags) == (3, "")
    file.write_text("no url at all\n")
    assert work_left(*flags) == (3, "")
    file.write_text(f"{rig.url}\n")
    assert work_left(*flags) == (1, "0\n")


def test_a_broker_that_is_away_is_no_empty_queue() -> None:
    assert work_left("-u", "amqp://127.0.0.1:1", "-q", "q") == (3, "")


def test_wrong_usage() -> None:
    assert work_left("-u", "amqp://127.0.0.1:1") == (64, "")
