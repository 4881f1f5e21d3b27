"""--until-empty and --joblog."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.network import Network
from tests.integration.worker_rig import Rig, patched
from tests.standin import wire
from tests.waiting import until

pytestmark = pytest.mark.broker

# A new queue has no numbers for ten seconds, and the figures of a foreign broker may be believed twelve seconds later.
_BATCH_S = 60

# After the last message: two where no other worker is there, else seven; and a moment for a busy machine.
_ALONE_S, _WITH_OTHERS_S = 2 + 1, 7 + 2


class Clock:
    """The time by which a worker bears the want of a broker or API; that worker says each time that it looks."""

    def __init__(self, rig: Rig) -> None:
        self._late_s, change = rig.tmp / "late", rig.tmp / "change.py"
        self._late_s.write_text("0")
        change.write_text(_CLOCK.format(late=str(self._late_s)))
        self.entry = patched(f"exec(open({str(change)!r}).read())")

    def jump(self) -> None:
        """Let far more time pass than any that is waited for."""
        self._late_s.write_text(f"{float(self._late_s.read_text()) + 10_000}")


_CLOCK = """
import time, types
from pathlib import Path
from scripts.worker import until_empty

def look(self, look=until_empty.UntilEmpty._look):
    print("looks", file=sys.stderr, flush=True)
    look(self)

until_empty.UntilEmpty._look = look
until_empty._API_AWAY_S = 1000
until_empty.time = types.SimpleNamespace(monotonic=lambda: time.monotonic() + float(Path({late!r}).read_text()))
"""


@pytest.fixture
def batch(rig: Rig) -> tuple[str, ...]:
    if not rig.management:
        pytest.skip("no management API")
    return ("--until-empty", "--management", rig.management)


def test_it_exits_0_when_all_is_done(rig: Rig, batch: tuple[str, ...]) -> None:
    rig.declare()
    rig.publish(*[b"x\n"] * 20)
    worker = rig.worker(*batch, "-j", "2", "cat")
    assert worker.exit_code(_BATCH_S) == 0
    assert worker.out.count(b"x\n") == 20
    worker.says(f"queue {rig.queue!r} is empty and all is done")


def test_it_exits_2_when_messages_failed_since_it_started(rig: Rig, batch: tuple[str, ...]) -> None:
    rig.declare()
    rig.declare(rig.failed)
    rig.publish(b"failed before", queue=rig.failed)
    rig.publish(b"x")
    worker = rig.worker(*batch, rig.action("exit 65"))
    assert worker.exit_code(_BATCH_S) == 2
    worker.says("but 1 message is in")


def test_old_failures_are_not_its_own(rig: Rig, batch: tuple[str, ...]) -> None:
    rig.declare(rig.failed)
    rig.publish(b"failed before", queue=rig.failed)
    assert rig.worker(*batch, "cat").exit_code(_BATCH_S) == 0


def test_it_waits_for_what_waits_to_be_tried_again(rig: Rig, batch: tuple[str, ...]) -> None:
    rig.declare()
    rig.publish(b"x")
    worker = rig.worker(*batch, "--backoff", "16", rig.action("[ $AMQP_ATTEMPT = 2 ] && echo done"))
    assert worker.exit_code(_BATCH_S + 20) == 0
    assert worker.out == b"done\n"


def test_it_waits_for_what_another_worker_has_in_hand(rig: Rig, batch: tuple[str, ...]) -> None:
    other = rig.worker(rig.action(rig.gate.wait))
    rig.publish(b"x")
    rig.gate.started()
    worker = rig.worker(*batch, "cat", entry=Clock(rig).entry)
    # Two readings would be enough to end it.
    worker.says("looks", times=5)
    assert worker.process.poll() is None
    rig.gate.open()
    assert worker.exit_code(_BATCH_S) == 0
    assert other.process.poll() is None


def _ended(path: Path) -> float:
    """When an action noted its end, in seconds since the epoch."""
    return float(path.read_text())


def test_alone_it_ends_soon_also_after_a_second_attempt(rig: Rig, batch: tuple[str, ...]) -> None:
    rig.declare()
    rig.publish(b"x")
    ended = rig.tmp / "ended"
    worker = rig.worker(*batch, rig.action(f"[ $AMQP_ATTEMPT = 2 ] && date +%s.%N > {ended}"))
    assert worker.exit_code(_BATCH_S) == 0
    assert time.time() - _ended(ended) < _ALONE_S


def test_it_ends_soon_when_what_another_worker_has_in_hand_is_done(rig: Rig, batch: tuple[str, ...]) -> None:
    ended = rig.tmp / "ended"
    other = rig.worker(rig.action(f"{rig.gate.wait}; date +%s.%N > {ended}"))
    rig.publish(b"x")
    rig.gate.started()
    worker = rig.worker(*batch, "cat", entry=Clock(rig).entry)
    worker.says("looks", times=3)
    rig.gate.open()
    assert worker.exit_code(_BATCH_S) == 0
    assert time.time() - _ended(ended) < _WITH_OTHERS_S
    assert other.process.poll() is None


def test_it_waits_for_a_worker_that_stops_with_a_message_in_hand(rig: Rig, batch: tuple[str, ...]) -> None:
    ended = rig.tmp / "ended"
    other = rig.worker(rig.action(f"{rig.gate.wait}; date +%s.%N > {ended}"))
    rig.publish(b"x")
    rig.gate.started()
    other.signal(signal.SIGTERM)
    worker = rig.worker(*batch, "cat", entry=Clock(rig).entry)
    worker.says("looks", times=8)
    assert worker.process.poll() is None
    rig.gate.open()
    assert worker.exit_code(_BATCH_S) == 0
    assert time.time() - _ended(ended) < _ALONE_S


def test_several_that_wait_for_each_other_all_end(rig: Rig, batch: tuple[str, ...]) -> None:
    rig.declare()
    rig.publish(*[b"x\n"] * 20)
    began = time.time()
    workers = [rig.worker(*batch, "cat", consuming=False) for _ in range(3)]
    assert [worker.exit_code(_BATCH_S) for worker in workers] == [0, 0, 0]
    assert sum(worker.out.count(b"x\n") for worker in workers) == 20
    assert time.time() - began < _BATCH_S


def test_a_message_that_fails_in_another_worker_counts(rig: Rig, batch: tuple[str, ...]) -> None:
    rig.worker(rig.action(f"{rig.gate.wait}; exit 65"))
    rig.publish(b"x")
    rig.gate.started()
    worker = rig.worker(*batch, "cat")
    rig.gate.open()
    assert worker.exit_code(_BATCH_S) == 2


def test_without_the_api_it_speaks_for_its_own_work_and_says_so(rig: Rig) -> None:
    rig.declare()
    rig.publish(b"x\n")
    worker = rig.worker("--until-empty", "--management", "http://127.0.0.1:1", "cat")
    assert worker.exit_code(_BATCH_S) == 0
    assert worker.out == b"x\n"
    worker.says("no management API at http://127.0.0.1:1")
    worker.says("--until-empty speaks for this worker's own work only")


def test_a_connection_that_is_lost_meanwhile_does_not_end_it(rig: Rig, batch: tuple[str, ...]) -> None:
    network = Network(rig.url)
    network.up()
    worker = rig.worker(*batch, "cat", url=network.url)
    network.down()
    worker.says("lost the broker")
    rig.publish(b"late\n")
    network.up()
    assert worker.exit_code(_BATCH_S) == 0
    assert worker.out == b"late\n"
    network.down()


def test_work_between_two_failures_of_the_api_gives_it_time_again(rig: Rig) -> None:
    """As a broker has no numbers for a new queue, and none for a while after a restart."""
    slow, clock = rig.action(rig.gate.wait), Clock(rig)
    asked: list[str] = []

    def hang_up(connection: Any, over: Any) -> None:
        if not asked:
            rig.publish(b"x")
        asked.append("once")

    with wire.serving(hang_up) as place:
        worker = rig.worker("--until-empty", "--management", f"http://{place}", slow, entry=clock.entry)
        rig.gate.started()
        worker.says("looks", times=worker.log.count("looks") + 2)
        clock.jump()
        before = len(asked)
        rig.gate.open()
        until(lambda: len(asked) >= before + 2, "it has asked again, and once more")
        clock.jump()
        worker.says("speaks for this worker's own work only")


def test_it_exits_3_when_the_broker_stays_away(rig: Rig) -> None:
    clock = Clock(rig)
    worker = rig.worker("--until-empty", "cat", consuming=False, url="amqp://127.0.0.1:1", entry=clock.entry)
    worker.says("looks")
    clock.jump()
    assert worker.exit_code() == 3
    worker.says("no broker for 300 s")


def test_an_action_that_loads_for_long_is_not_a_broker_that_is_away(rig: Rig) -> None:
    loaded = rig.tmp / "loaded"
    model = f"until [ -e {loaded} ]; do sleep 0.02; done; echo ready 1 >&3; while read -r x; do echo ok >&3; done"
    clock = Clock(rig)
    worker = rig.worker("--until-empty", "--keep-alive", rig.action(model), consuming=False, entry=clock.entry)
    worker.says("looks")
    clock.jump()
    worker.says("looks", times=worker.log.count("looks") + 2)
    assert worker.process.poll() is None
    loaded.touch()
    worker.says("consuming from")


def test_the_joblog_has_a_line_a_run_with_parallel_s_columns_and_ours(rig: Rig) -> None:
    log = rig.tmp / "log.tsv"
    action = rig.action("cat; case $AMQP_MESSAGE_ID in killed) kill -9 $$;; failed) exit 3;; rejected) exit 65;; esac")
    worker = rig.worker("--joblog", str(log), "--attempts", "2", "--backoff", "0", action)
    for message_id in ("fine", "failed", "killed", "rejected"):
        rig.publish(b"12345\n", message_id=message_id)
    until(lambda: log.read_text().count("\n") == 7, "six runs")
    header, *lines = [line.split("\t") for line in log.read_text().splitlines()]
    assert header == [
        "Seq", "Host", "Starttime", "JobRuntime", "Send", "Receive", "Exitval", "Signal", "Command",
        "MessageId", "Queue", "Attempt", "Verdict", "Reason",
    ]  # fmt: skip
    runs = [dict(zip(header, line, strict=True)) for line in lines]
    assert [run["Seq"] for run in runs] == ["1", "2", "3", "4", "5", "6"]
    assert {run["Command"] for run in runs} == {action}
    assert {(run["Send"], run["Receive"]) for run in runs} == {("6", "6")}
    keys = ("MessageId", "Attempt", "Exitval", "Signal", "Verdict", "Reason")
    assert sorted(tuple(run[key] for key in keys) for run in runs) == [
        ("failed", "1", "3", "0", "failed", "exit 3"),
        ("failed", "2", "3", "0", "failed", "exit 3"),
        ("fine", "1", "0", "0", "done", ""),
        ("killed", "1", "0", "9", "failed", "killed by SIGKILL"),
        ("killed", "2", "0", "9", "failed", "killed by SIGKILL"),
        ("rejected", "1", "65", "0", "rejected", "exit 65"),
    ]
    assert all(abs(float(run["Starttime"]) - time.time()) < 100 for run in runs)
    worker.stop()


def test_a_second_worker_goes_on_with_the_same_joblog(rig: Rig) -> None:
    log = rig.tmp / "log.tsv"
    for number in range(2):
        worker = rig.worker("--joblog", str(log), "cat")
        rig.publish(b"x")
        until(lambda n=number: log.read_text().count("\n") == n + 2, "one more line")
        worker.stop()
    assert log.read_text().count("Seq") == 1


def test_a_joblog_that_cannot_be_written_is_an_error_at_the_start(rig: Rig) -> None:
    worker = rig.worker("--joblog", os.fspath(rig.tmp / "no" / "folder"), "cat", consuming=False)
    assert worker.exit_code() == 1
    assert "no/folder: no such file or directory" in worker.log
