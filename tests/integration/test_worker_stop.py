"""SIGTERM and SIGINT, once and twice; the time limit's end of a process group; no orphans."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.integration.worker_rig import ENTRY, Rig, WorkerProcess, patched
from tests.processes import runs
from tests.waiting import until

pytestmark = pytest.mark.broker


@pytest.fixture
def held(rig: Rig) -> tuple[WorkerProcess, Path, Path]:
    """A worker with one running action and two messages that have not started, and the file that lets the action go."""
    return hold(rig)


def hold(rig: Rig, entry: Sequence[str] = ENTRY) -> tuple[WorkerProcess, Path, Path]:
    started, release = rig.tmp / "started", rig.tmp / "release"
    action = rig.action(f"touch {started}; until [ -e {release} ]; do sleep 0.02; done; echo finished")
    worker = rig.worker("--prefetch", "3", action, entry=entry)
    rig.publish(b"a", b"b", b"c", b"d")
    until(started.exists, "the action runs")
    until(lambda: rig.ready() == 1, "three are held")
    return worker, started, release


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_hands_back_what_has_not_started_and_waits_for_what_runs(
    rig: Rig, held: tuple[WorkerProcess, Path, Path], number: signal.Signals
) -> None:
    worker, _, release = held
    worker.signal(number)
    until(lambda: rig.ready() == 3, "two came back, the fourth was not taken")
    assert worker.process.poll() is None
    release.touch()
    assert worker.exit_code() == 0
    assert worker.out == b"finished\n"
    messages = rig.take(count=3)
    assert {message.body for message in messages} == {b"b", b"c", b"d"}
    assert all("x-cluster-attempt" not in message.headers for message in messages)
    assert [message.lost for message in messages] == [0, 0, 0]


def test_a_second_signal_does_not_wait_and_the_killed_one_does_not_count(
    rig: Rig, held: tuple[WorkerProcess, Path, Path]
) -> None:
    worker, _, _ = held
    worker.signal(signal.SIGTERM)
    worker.says("stopping")
    assert worker.insist() == 0
    again = rig.worker(rig.action('cat; echo " $AMQP_ATTEMPT"'))
    until(lambda: again.out.count(b"\n") == 4, "all four run")
    assert sorted(again.out.splitlines()) == [b"a 1", b"b 1", b"c 1", b"d 1"]


def name_of(worker: WorkerProcess) -> str:
    return Path(f"/proc/{worker.process.pid}/comm").read_text().strip()


def test_one_that_is_to_stay_finishes_what_runs_takes_no_more_and_ends_when_it_is_told(
    rig: Rig, held: tuple[WorkerProcess, Path, Path]
) -> None:
    worker, _, release = held
    worker.signal(signal.SIGURG)
    until(lambda: rig.ready() == 3, "two came back, the fourth was not taken")
    assert name_of(worker) == "draining"
    release.touch()
    until(lambda: name_of(worker) == "drained", "what ran is done")
    worker.signal(signal.SIGURG)
    assert worker.process.poll() is None
    worker.signal(signal.SIGTERM)
    assert worker.exit_code() == 0
    assert (worker.out, rig.ready()) == (b"finished\n", 3)


def test_one_that_is_to_stay_is_healthy_until_it_ends(rig: Rig) -> None:
    alive = rig.tmp / "alive"
    worker = rig.worker("cat", CLUSTER_WORKER_ALIVE_FILE=str(alive))
    until(alive.exists, "it consumes")
    worker.signal(signal.SIGURG)
    until(lambda: name_of(worker) == "drained", "nothing ran")
    assert alive.exists()
    worker.signal(signal.SIGTERM)
    assert worker.exit_code() == 0
    assert not alive.exists()


def test_one_that_is_to_stay_ends_when_nobody_asks_again(rig: Rig) -> None:
    worker = rig.worker("cat", entry=patched("from scripts.worker import worker; worker.HOLD_S = 1"))
    worker.signal(signal.SIGURG)
    assert worker.exit_code() == 0


def test_one_that_is_to_stay_and_told_to_end_finishes_what_runs(
    rig: Rig, held: tuple[WorkerProcess, Path, Path]
) -> None:
    worker, _, release = held
    worker.signal(signal.SIGURG)
    until(lambda: rig.ready() == 3, "two came back")
    worker.signal(signal.SIGTERM)
    worker.says("staying no longer")
    assert worker.process.poll() is None
    release.touch()
    assert worker.exit_code() == 0
    assert worker.out == b"finished\n"


def test_a_signal_that_is_sent_twice_at_once_is_one(rig: Rig) -> None:
    """As timeout(1) does; SIGINT stands for the second SIGTERM, since two of a kind would mostly arrive as one."""
    # At once may take its time on a busy machine.
    worker, _, release = hold(rig, patched("from scripts import cluster_worker; cluster_worker._ONE_SIGNAL_S = 100"))
    worker.signal(signal.SIGTERM)
    worker.signal(signal.SIGINT)
    until(lambda: rig.ready() == 3, "two came back")
    release.touch()
    assert worker.exit_code() == 0
    assert worker.out == b"finished\n"


def test_a_terminal_that_is_closed_is_a_stop(rig: Rig, held: tuple[WorkerProcess, Path, Path]) -> None:
    worker, _, release = held
    worker.signal(signal.SIGHUP)
    worker.says("SIGHUP: stopping")
    worker.signal(signal.SIGHUP)
    worker.says("stopping already")
    release.touch()
    assert worker.exit_code() == 0
    assert worker.out == b"finished\n"


def test_a_first_signal_waits_though_the_worker_stops_already(rig: Rig) -> None:
    started, release = rig.tmp / "started", rig.tmp / "release"
    wait = f"touch {started}; until [ -e {release} ]; do sleep 0.02; done"
    action = rig.action(f"read kind; [ $kind = bad ] && exit 1; {wait}; echo finished")
    worker = rig.worker("-j", "2", "--breaker", "1", action)
    rig.publish(b"good\n")
    until(started.exists, "the action runs")
    rig.publish(b"bad\n", b"bad\n")
    worker.says("2 messages in a row failed")
    worker.signal(signal.SIGTERM)
    worker.says("SIGTERM: stopping already")
    worker.signal(signal.SIGURG)
    assert name_of(worker) == "draining"
    release.touch()
    assert worker.exit_code() == 1
    assert worker.out == b"finished\n"


def test_many_kills_at_stops_never_fail_a_message(rig: Rig) -> None:
    rig.declare()
    rig.publish(b"x")
    started = rig.tmp / "started"
    for _ in range(4):
        worker = rig.worker("--attempts", "2", "--drain", "0", rig.action(f"touch {started}; sleep 300"))
        until(started.exists, "the action runs")
        assert worker.stop() == 0
        started.unlink()
        until(lambda: rig.ready() == 1, "it came back")
    last = rig.worker("--attempts", "2", rig.action('echo "attempt $AMQP_ATTEMPT"'))
    until(lambda: last.out == b"attempt 1\n", "its first attempt that counts")


def test_a_failure_before_and_a_kill_at_a_stop(rig: Rig) -> None:
    """Killed during its second attempt: the second attempt is still to come."""
    started = rig.tmp / "started"
    action = rig.action(f"[ $AMQP_ATTEMPT = 1 ] && exit 1; touch {started}; sleep 300")
    worker = rig.worker("--drain", "0", "--backoff", "0", action)
    rig.publish(b"x")
    until(started.exists, "the second attempt")
    assert worker.stop() == 0
    last = rig.worker(rig.action('echo "attempt $AMQP_ATTEMPT"'))
    until(lambda: last.out == b"attempt 2\n", "the second attempt again")


def test_drain_bounds_the_wait(rig: Rig, held: tuple[WorkerProcess, Path, Path]) -> None:
    second = rig.tmp / "second"
    worker = rig.worker("--drain", "0.5", rig.action(f"touch {second}; sleep 300", "sleeps"))
    held[0].kill()
    until(second.exists, "the second worker has one")
    until(lambda: rig.ready() == 3, "the others are back")
    assert worker.stop() == 0
    assert "1 actions still run after 0.5 s (--drain)" in worker.log
    until(lambda: rig.ready() == 4, "it came back")


def test_an_idle_worker_stops(rig: Rig) -> None:
    worker = rig.worker("cat")
    assert worker.stop() == 0


def test_a_stop_while_the_broker_is_away(rig: Rig) -> None:
    worker = WorkerProcess(["-u", "amqp://127.0.0.1:1", "-q", rig.queue, "cat"], rig.tmp, {})
    worker.says("connection refused; trying again")
    assert worker.stop() == 0


def test_term_then_kill_to_the_whole_process_group(rig: Rig) -> None:
    """The action ignores TERM, and so does its child, which has STDOUT and STDERR of its own."""
    pids = rig.tmp / "pids"
    action = rig.action(f"""trap '' TERM
        sh -c 'trap "" TERM; while :; do sleep 1; done' >/dev/null 2>&1 &
        echo $$ $! > {pids}; echo started; while :; do sleep 1; done""")
    worker = rig.worker("--timeout", "3", "--kill-after", "0.5", "--attempts", "1", action)
    rig.publish(b"x")
    rig.take_failed()
    assert worker.out == b"started\n"
    _ended(pids)


def test_the_group_may_finish_after_its_leader(rig: Rig) -> None:
    """The leader dies of TERM; what it started gets its time to clean up, and the message waits for that."""
    cleaned = rig.tmp / "cleaned"
    action = rig.action(f"""(trap 'sleep 0.5; touch {cleaned}; exit' TERM; while :; do sleep 0.02; done) &
        exec sleep 300""")
    rig.worker("--timeout", "3", "--attempts", "1", action)
    rig.publish(b"x")
    rig.take_failed()
    assert cleaned.exists()


def test_no_orphans_after_a_stop(rig: Rig) -> None:
    pids = rig.tmp / "pids"
    worker = rig.worker(
        "--drain",
        "0",
        "--kill-after",
        "0.5",
        rig.action(f"""
        sh -c 'trap "" TERM; while :; do sleep 1; done' & echo $$ $! > {pids}.new; mv {pids}.new {pids}; wait"""),
    )
    rig.publish(b"x")
    until(pids.exists, "the action runs")
    assert worker.stop() == 0
    _ended(pids)


def _ended(pids: Path) -> None:
    """What was sent KILL takes a moment to end."""
    numbers = [int(pid) for pid in pids.read_text().split()]
    assert len(numbers) == 2
    until(lambda: not [pid for pid in numbers if runs(pid)], "all of the group has ended")
