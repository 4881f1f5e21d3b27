"""A worker on which everything fails takes no more, says so, tries one now and then, and goes on after a success."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cluster.operations import status as listing
from tests.conftest import Broker
from tests.integration.network import Network
from tests.integration.worker_rig import Rig, WorkerProcess, patched
from tests.waiting import until

pytestmark = pytest.mark.broker

# As the action's first line says; 0 is a success.
EXIT = "read code; exit $code"
REJECTS = "echo ready 1 >&3; while read -r body; do echo reject not mounted >&3; done"
NO_PAUSE = patched("from scripts.worker import breaker; breaker.FIRST_PAUSE_S = breaker.LONGEST_PAUSE_S = 0")
LONG_PAUSE = patched("from scripts.worker import breaker; breaker.FIRST_PAUSE_S = breaker.LONGEST_PAUSE_S = 1000")
WITHOUT_API = ("--until-empty", "--management", "http://127.0.0.1:1")


def test_a_worker_whose_first_messages_all_fail_hands_back_and_exits_1(rig: Rig) -> None:
    worker = rig.worker("--prefetch", "3", "--breaker", "4", rig.action("sleep 1.1; exit 1"))
    rig.publish(*[b"x"] * 12)
    assert worker.exit_code() == 1
    worker.says("its first 4 messages failed at their first attempt, the last: exit 1")
    assert worker.log.count("attempt 1 of 3") == 4
    until(lambda: rig.ready() == 12, "all are there again, the four that failed after their pause")
    attempts = sorted(message.headers.get("x-cluster-attempt", 0) for message in rig.take(count=12))
    assert attempts == [0] * 8 + [1] * 4


def test_a_batch_whose_first_messages_are_all_rejected_is_not_burned(rig: Rig, tmp_path: Path) -> None:
    rig.declare()
    rig.publish(*[b"x\n"] * 20)
    alive = str(tmp_path / "alive")
    action = rig.action(REJECTS)
    worker = rig.worker(*WITHOUT_API, "--keep-alive", action, consuming=False, CLUSTER_WORKER_ALIVE_FILE=alive)
    assert worker.exit_code() == 1
    assert rig.ready(rig.failed) == 10
    until(lambda: rig.ready() == 10, "the others were not taken or came back")


def test_retries_open_nothing(rig: Rig) -> None:
    """As a worker meets them that comes late, when nothing else is left."""
    worker = rig.worker("--breaker", "2", "--backoff", "0", rig.action("exit 1"))
    rig.publish(*[b"x"] * 6, headers={"x-cluster-attempt": 1})
    assert {message.headers["x-cluster-attempt"] for message in rig.take_failed(6)} == {3}
    assert worker.process.poll() is None


def test_a_breaker_of_0_never_opens(rig: Rig) -> None:
    worker = rig.worker("--breaker", "0", "--attempts", "1", rig.action("exit 1"))
    rig.publish(*[b"x"] * 30)
    rig.take_failed(30)
    assert worker.process.poll() is None


def test_a_batch_goes_on_behind_bad_messages_and_ends_with_2(rig: Rig) -> None:
    """The only consumer: it tries the next one every two seconds, and retries without a pause."""
    rig.declare()
    rig.publish(*[b"0\n"] * 3, *[b"1\n"] * 6, *[b"0\n"] * 10, *[b"1\n"] * 5)
    patience = patched("from scripts.worker import until_empty; until_empty._API_AWAY_S = 0")
    worker = rig.worker(*WITHOUT_API, "--breaker", "2", "--attempts", "2", rig.action(EXIT), entry=patience)
    assert worker.exit_code() == 2
    assert worker.log.count("taking one now and then") == 2
    assert worker.log.count("taking all again") == 1
    assert worker.log.count("attempt 2 of 2; to the failed queue") == 11
    assert (rig.ready(), rig.ready(rig.failed)) == (0, 11)


def test_a_sick_host_leaves_the_messages_to_others_until_there_are_none(rig: Rig) -> None:
    sick = rig.worker("--breaker", "2", "--attempts", "1", rig.action(EXIT), entry=LONG_PAUSE)
    rig.publish(b"0\n", *[b"1\n"] * 4)
    rig.take_failed(4)
    sick.says("taking one now and then")
    well = rig.worker("cat")
    rig.publish(*[b"1\n"] * 20)
    until(lambda: well.out.count(b"\n") == 20, "the other one does all")
    assert sick.log.count("to the failed queue") == 4
    assert well.stop() == 0
    rig.publish(b"1\n", b"1\n")
    rig.take_failed(2)


def test_what_ran_when_it_opened_is_settled_and_its_success_closes_it(rig: Rig) -> None:
    action = rig.action(f"read kind; [ $kind = bad ] && exit 1; {rig.gate.wait}; echo finished")
    alive = str(rig.tmp / "alive")
    worker = rig.worker("-j", "2", "--breaker", "1", "--attempts", "1", action, CLUSTER_WORKER_ALIVE_FILE=alive)
    rig.publish(b"slow\n")
    rig.gate.started()
    rig.publish(b"bad\n", b"bad\n")
    worker.says("taking one now and then")
    rig.gate.open()
    worker.says("taking all again")
    rig.publish(b"more\n")
    until(lambda: worker.out == b"finished\n" * 2, "both are done")
    assert worker.stop() == 0
    assert rig.ready() == 0


@pytest.fixture
def resting(rig: Rig) -> tuple[WorkerProcess, Path]:
    """A worker as an engine runs it, on which everything fails until the file is there."""
    mended = rig.tmp / "mended"
    worker = rig.worker(
        "--prefetch", "3", "--breaker", "2", "--attempts", "100", "--backoff", "0", rig.action(f"[ -e {mended} ]"),
        CLUSTER_WORKER_ALIVE_FILE=str(rig.tmp / "alive"), entry=NO_PAUSE,
    )  # fmt: skip
    rig.publish(*[b"x"] * 6)
    worker.says("its first 2 messages failed")
    return worker, mended


def _resting(broker: Broker, queue: str) -> list[dict[str, Any]]:
    found = json.loads(listing.View(broker.settings, as_json=True, say=print).once())["workers"]
    return [one for one in found if one["queue"] == queue and one["state"] == "resting"]


def test_under_an_engine_it_stays_says_so_and_goes_on_when_the_host_is_mended(
    rig: Rig, broker: Broker, resting: tuple[WorkerProcess, Path]
) -> None:
    worker, mended = resting
    [told] = until(lambda: _resting(broker, rig.queue), "status knows of it")
    assert told["pid"] == worker.process.pid
    assert "exit 1" in told["reason"]
    lines = listing.View(broker.settings, say=print).once().splitlines()
    assert [rig.queue in line and "exit 1" in line for line in lines].count(True) == 1
    until(lambda: worker.log.count("attempt 1 of 100") >= 3, "it has tried a third one")
    assert (rig.tmp / "alive").exists()
    mended.touch()
    worker.says("consuming from", times=2)
    until(lambda: rig.ready() == 0, "all are taken")
    until(lambda: not _resting(broker, rig.queue), "status knows of that, too")
    assert worker.stop() == 0


def test_a_message_that_only_begins_anew_on_the_failed_queue_is_no_probe(rig: Rig) -> None:
    """Nothing is run of those with a reason, so the first behind them is the probe, without a pause for each."""
    mended = rig.tmp / "mended"
    seldom = patched("from scripts.worker import breaker; breaker.FIRST_PAUSE_S = 0; breaker._LOOK_EVERY_S = 9")
    worker = rig.worker(
        "--breaker", "1", "--attempts", "1", rig.action(f"[ -e {mended} ]"), queue=rig.failed, entry=seldom,
        CLUSTER_WORKER_ALIVE_FILE=str(rig.tmp / "alive"),
    )  # fmt: skip
    rig.publish(b"x", queue=rig.failed)
    worker.says("taking one now and then")
    rig.publish(*[b"x"] * 20, queue=rig.failed, headers={"x-cluster-reason": "exit 1"})
    mended.touch()
    worker.says("taking all again")
    until(lambda: rig.ready(rig.failed) == 0, "all are taken")


def test_a_lost_connection_does_not_close_it(rig: Rig) -> None:
    network, mended = Network(rig.url), rig.tmp / "mended"
    network.up()
    worker = rig.worker(
        "--breaker", "1", "--attempts", "100", rig.action(f"[ -e {mended} ]"), url=network.url, entry=NO_PAUSE,
        CLUSTER_WORKER_ALIVE_FILE=str(rig.tmp / "alive"),
    )  # fmt: skip
    rig.publish(*[b"x"] * 3)
    worker.says("taking one now and then")
    network.down()
    worker.says("lost the broker")
    until(lambda: not (rig.tmp / "alive").exists(), "it is not healthy without a broker")
    network.up()
    until((rig.tmp / "alive").exists, "it is again")
    assert worker.log.count("consuming from") == 1
    mended.touch()
    worker.says("consuming from", times=2)
    until(lambda: rig.ready() == 0, "all are taken")
    network.down()


def test_a_stop_ends_it_in_good_order(resting: tuple[WorkerProcess, Path]) -> None:
    assert resting[0].stop() == 0
