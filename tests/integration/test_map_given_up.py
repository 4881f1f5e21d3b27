"""Runs in which nothing succeeds, at the defaults: they end, leave nothing, and can begin again at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from cluster.operations.brokers import Broker as BrokerMeant
from cluster.operations.map import _resting
from cluster.operations.wanted_workers import Wanted as WantedWorkers
from cluster.operations.workforce import _nobody_takes
from cluster.queue.publishing.link import Target
from cluster.queue.runs import run
from cluster.queue.runs.halt import Halt
from cluster.queue.runs.items import chosen_items
from cluster.queue.runs.output import open_output
from cluster.queue.runs.run import Around, Resting, Run, Summary
from cluster.queue.runs.sidecar import Sidecar, Wanted
from cluster.settings import ROOT
from scripts.amqp.broker import parameters
from scripts.amqp.management import management_of
from scripts.amqp.queues import side_queues
from scripts.background import in_background
from scripts.errors import ClusterError
from tests.conftest import Broker, engine_of
from tests.integration.test_map import Mapping
from tests.integration.worker_rig import Rig
from tests.waiting import until

pytestmark = pytest.mark.broker

# A worker rests after ten failures, in a second, and is asked for twice. An open breaker's first pauses are longer.
ENDS_WITHIN_S = 30


class AtHome(Mapping):
    """Runs `inv map` with workers that it starts itself, as plain processes of the rig's broker."""

    def __init__(self, rig: Rig, tmp: Path, broker: Broker) -> None:
        super().__init__(rig, tmp)
        one = broker.settings
        self.environ = {
            **os.environ, "INVOKE_SCHEDULER": "process", "INVOKE_PROJECT": one.project,
            "INVOKE_QUEUE_PORT": str(one.queue.port), "INVOKE_QUEUE_MANAGEMENT_PORT": str(one.queue.management_port),
            "INVOKE_QUEUE_PROMETHEUS_PORT": str(one.queue.prometheus_port),
        }  # fmt: skip

    def typed(self, *flags: str) -> list[str]:
        what = ["--file", self.items, "--action", self.action, "--output", self.output, "-q", self.rig.queue, *flags]
        return [sys.executable, str(ROOT / "tasks.py"), "map", *map(str, what)]

    def end(self, *flags: str) -> subprocess.CompletedProcess[bytes]:
        """Return how it ended; that it goes on for ever is a failure."""
        return subprocess.run(
            self.typed(*flags), env=self.environ, capture_output=True, timeout=ENDS_WITHIN_S, check=False
        )

    def interrupt(self, after: int) -> None:
        """Begin, and stop when so many results are there."""
        process = subprocess.Popen(
            self.typed(), env=self.environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until(lambda: len(self.records()) >= after, "it has begun")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130

    def left(self) -> int:
        """All messages that wait in the queues of the workers."""
        return sum(self.rig.ready(name) for name in (self.rig.queue, *side_queues(self.rig.queue)))


@pytest.fixture
def home(rig: Rig, tmp_path: Path, broker: Broker) -> Iterator[AtHome]:
    yield AtHome(rig, tmp_path, broker)
    engine_of(replace(broker.settings, scheduler="process")).stop(f"/worker-{rig.queue}", now=True)


@pytest.mark.parametrize("flags", [(), ("--halt", "150")], ids=["defaults", "a limit that is never reached"])
@pytest.mark.parametrize("code", [1, 127])
def test_a_run_in_which_nothing_succeeds_ends_and_leaves_nothing(
    home: AtHome, code: int, flags: tuple[str, ...]
) -> None:
    home.of(200)
    home.action = home.marking(f"exit {code}")
    given_up = home.end(*flags)
    assert given_up.returncode == 2, given_up.stderr
    assert f"exit {code}" in given_up.stderr.decode().splitlines()[-1]
    assert len(home.marks.read_text().split()) < 50
    assert home.left() == 0


def test_the_same_command_works_once_the_action_is_mended(home: AtHome) -> None:
    home.of(200)
    home.action = home.marking("exit 1")
    for _ in range(2):
        assert home.end().returncode == 2
    home.marking()
    mended = home.end()
    assert mended.returncode == 0, mended.stderr
    assert home.numbers() == list(range(1, 201))


def test_a_run_that_was_interrupted_goes_on_with_other_workers(home: AtHome) -> None:
    """It had results to collect, and most of its items waited, which are nobody else's."""
    home.of(300)
    home.action = home.marking("sleep 0.02")
    home.interrupt(after=5)
    assert home.left() > 100
    done = home.end("--jobs", "3", "--timeout", "60")
    assert done.returncode == 0, done.stderr
    assert home.numbers() == list(range(1, 301))
    assert len(home.marks.read_text().split()) < 320


def go(mapping: Mapping, around: Around) -> Summary:
    """Run all items in this process."""
    items = chosen_items(
        str(mapping.items), "", contents=False, null=False, skip_empty=False, colsep=None, header_row=False,
        action=["cat"], spool=mapping.tmp / "spool", say=print,
    )  # fmt: skip
    queue, url = mapping.rig.queue, mapping.rig.url
    with closing(Sidecar(str(mapping.output))) as sidecar, closing(open_output(str(mapping.output))) as output:
        sidecar.begin(Wanted("", "", items.total, "", queue, "", "", keep_order=False))
        one = Run(items, output, sidecar, Target(url, queue), around, Halt(), slots=1, detach=False, say=print)
        return one.go(lambda _: None)


def test_a_sick_host_ends_no_run_while_another_works(rig: Rig, tmp_path: Path) -> None:
    mapping, opened = Mapping(rig, tmp_path), tmp_path / "open"
    mapping.of(40)
    rig.worker(rig.action("exit 127", "sick"), CLUSTER_WORKER_ALIVE_FILE=str(tmp_path / "alive"))
    rig.worker(rig.action(f"until [ -e {opened} ]; do sleep 0.02; done; cat", "slow"))
    management = management_of(parameters(rig.url), rig.management)
    looks: list[Resting] = []

    def resting() -> Resting:
        looks.append(_resting(BrokerMeant(rig.url, lambda: management), rig.queue))
        return looks[-1]

    going = in_background(lambda: go(mapping, Around(resting)))
    until(lambda: len([one for one in looks if one.why]) > run._RESTING_LOOKS, "it is known that one rests")
    opened.touch()
    summary = going.result(60)
    assert (summary.halted, summary.done, summary.failed) == ("", 40, 0)


def test_a_run_outlasts_workers_that_wait_for_room(rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_NOBODY_S", 1.0)
    mapping, looks, first = Mapping(rig, tmp_path), list[Resting](), rig.worker("cat")
    mapping.of(40)
    first.says("consuming from")
    first.stop()
    management = management_of(parameters(rig.url), rig.management)

    def resting() -> Resting:
        looks.append(_resting(BrokerMeant(rig.url, lambda: management), rig.queue, lambda: "20 wait (Priority)"))
        return looks[-1]

    going = in_background(lambda: go(mapping, Around(resting, lambda: "nobody works")))
    until(lambda: len(looks) > 2, "it has looked for longer than a run goes on with nobody")
    assert {(one.why, one.are_waiting, one.are_all) for one in looks} == {("20 wait (Priority)", True, False)}
    rig.worker("cat")
    assert going.result(60).done == 40


def test_a_run_outlasts_the_moment_between_two_workers_and_no_more(rig: Rig, tmp_path: Path) -> None:
    mapping, looks = Mapping(rig, tmp_path), list[float]()
    mapping.of(40)
    rig.worker("cat").stop()

    def nobody() -> str:
        looks.append(time.monotonic())
        return "" if len(looks) == 2 else f"nobody takes {rig.queue}"

    with pytest.raises(ClusterError, match=rig.queue):
        go(mapping, Around(trouble=nobody, ends_after_s=3.0))
    assert looks[-1] - looks[2] >= 3.0
    assert len(looks) > 3


def test_a_run_whose_workers_have_left_without_a_success_ends(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "_NOBODY_S", 1.0)
    mapping = Mapping(rig, tmp_path)
    mapping.of(40)
    worker = rig.worker(rig.action("exit 1"))
    around = Around(trouble=partial(_nobody_takes, rig.url, WantedWorkers(rig.queue, "cat")))
    going = in_background(lambda: go(mapping, around))
    with pytest.raises(ClusterError, match=rig.queue):
        going.result(60)
    assert worker.exit_code() == 1
