"""--idle: the end of a worker that has nothing to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.queue import workers
from tests.integration.network import Network
from tests.integration.worker_rig import Rig, patched
from tests.waiting import until

pytestmark = pytest.mark.broker


def impatient(looks: Path) -> tuple[str, str]:
    """An entry of a worker for which a moment is a long time; it writes down how often it has looked."""
    return patched(
        f"""
import time, types
from pathlib import Path
from scripts.worker import idle

def look(self, look=idle.Idle._look):
    with Path({str(looks)!r}).open("a") as file:
        file.write("x")
    look(self)

idle.Idle._look = look
idle._LOOK_EVERY_S = 0.01
idle.time = types.SimpleNamespace(monotonic=lambda: time.monotonic() * 1000)
""".strip()
    )


@contextmanager
def paused(rig: Rig) -> Iterator[None]:
    rig.declare()
    assert workers.pause(rig.url, rig.queue)
    yield
    workers.resume(rig.url, rig.queue)


def looked_often(looks: Path) -> None:
    """So much time has passed, on its own clock, that it would have ended."""
    before = len(looks.read_text())
    until(lambda: len(looks.read_text()) > before + 50, "it has looked 50 times")


def test_it_ends_when_there_was_nothing_to_do_and_not_before(rig: Rig) -> None:
    looks = rig.tmp / "looks"
    action = rig.action(f"{rig.gate.wait}; cat")
    rig.declare()
    rig.publish(b"x\n")
    worker = rig.worker("--idle", "100", action, entry=impatient(looks))
    rig.gate.started()
    looked_often(looks)
    rig.gate.open()
    assert (worker.exit_code(), worker.out) == (0, b"x\n")
    assert "(--idle)" in worker.log


def test_it_stays_while_the_queue_is_paused(rig: Rig) -> None:
    looks = rig.tmp / "looks"
    with paused(rig):
        worker = rig.worker("--idle", "100", "cat", entry=impatient(looks), consuming=False)
        worker.says("is paused")
        rig.publish(b"x\n")
        looked_often(looks)
    assert (worker.exit_code(), worker.out) == (0, b"x\n")


def test_it_stays_while_the_broker_is_away(rig: Rig) -> None:
    looks, network = rig.tmp / "looks", Network(rig.url)
    worker = rig.worker("--idle", "100", "cat", entry=impatient(looks), url=network.url, consuming=False)
    worker.says("trying again")
    looked_often(looks)
    network.up()
    assert worker.exit_code() == 0
    assert "consuming from" in worker.log
    network.down()
