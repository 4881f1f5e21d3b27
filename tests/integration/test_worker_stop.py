"""SIGTERM and SIGINT, once and twice; the time limit's end of a process group; no orphans."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.network import Network
from tests.integration.worker_rig import ENTRY, Rig, WorkerProcess, patched
from tests.processes import runs
from tests.waiting import until

pytestmark = pytest.mark.broker


@pytest.fixture
def held(rig: Rig) -> WorkerProcess:
    """A worker with one action that waits at the gate, and two messages that have not started."""
    return hold(rig)


def hold(rig: Rig, entry: Sequence[str] = ENTRY) -> WorkerProcess:
    worker = rig.worker("--prefetch", "3", rig.action(f"{rig.gate.wait}; echo finished"), entry=entry)
    rig.publish(b"a", b"b", b"c", b"d")
    rig.gate.started()
    until(lambda: rig.ready() == 1, "three are held")
    return worker


def finishes(rig: Rig, worker: WorkerProcess, code: int = 0) -> None:
    """Let the action go: the worker ends, with its work done."""
    assert worker.process.poll() is None
    rig.gate.open()
    assert (worker.exit_code(), worker.out) == (code, b"finished\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_hands_back_what_has_not_started_and_waits_for_what_runs(
    rig: Rig, held: WorkerProcess, number: signal.Signals
) -> None:
    held.signal(number)
    until(lambda: rig.ready() == 3, "two came back, the fourth was not taken")
    finishes(rig, held)
    messages = rig.take(count=3)
    assert {message.body for message in messages} == {b"b", b"c", b"d"}
    assert all("x-cluster-attempt" not in message.headers for message in messages)
    assert [message.lost for message in messages] == [0, 0, 0]


def test_a_second_signal_does_not_wait_and_the_killed_one_does_not_count(rig: Rig, held: WorkerProcess) -> None:
    held.signal(signal.SIGTERM)
    held.says("stopping")
    assert held.insist() == 0
    again = rig.worker(rig.action('cat; echo " $AMQP_ATTEMPT"'))
    until(lambda: again.out.count(b"\n") == 4, "all four run")
    assert sorted(again.out.splitlines()) == [b"a 1", b"b 1", b"c 1", b"d 1"]


def name_of(worker: WorkerProcess) -> str:
    return Path(f"/proc/{worker.process.pid}/comm").read_text().strip()


def test_one_that_is_to_stay_finishes_what_runs_takes_no_more_and_ends_when_it_is_told(
    rig: Rig, held: WorkerProcess
) -> None:
    held.signal(signal.SIGURG)
    until(lambda: rig.ready() == 3, "two came back, the fourth was not taken")
    assert name_of(held) == "draining"
    rig.gate.open()
    until(lambda: name_of(held) == "drained", "what ran is done")
    held.signal(signal.SIGURG)
    assert held.process.poll() is None
    held.signal(signal.SIGTERM)
    assert held.exit_code() == 0
    assert (held.out, rig.ready()) == (b"finished\n", 3)


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


def test_one_that_is_to_stay_and_told_to_end_finishes_what_runs(rig: Rig, held: WorkerProcess) -> None:
    held.signal(signal.SIGURG)
    until(lambda: rig.ready() == 3, "two came back")
    held.signal(signal.SIGTERM)
    held.says("staying no longer")
    finishes(rig, held)


def test_a_signal_that_is_sent_twice_at_once_is_one(rig: Rig) -> None:
    """As timeout(1) does; SIGINT stands for the second SIGTERM, since two of a kind would mostly arrive as one."""
    # At once may take its time on a busy machine.
    worker = hold(rig, patched("from scripts import cluster_worker; cluster_worker._ONE_SIGNAL_S = 100"))
    worker.signal(signal.SIGTERM)
    worker.signal(signal.SIGINT)
    until(lambda: rig.ready() == 3, "two came back")
    finishes(rig, worker)


def test_a_terminal_that_is_closed_is_a_stop(rig: Rig, held: WorkerProcess) -> None:
    held.signal(signal.SIGHUP)
    held.says("SIGHUP: stopping")
    held.signal(signal.SIGHUP)
    held.says("stopping already")
    finishes(rig, held)


def test_a_first_signal_waits_though_the_worker_stops_already(rig: Rig) -> None:
    action = rig.action(f"read kind; [ $kind = bad ] && exit 1; {rig.gate.wait}; echo finished")
    worker = rig.worker("-j", "2", "--breaker", "1", action)
    rig.publish(b"good\n")
    rig.gate.started()
    rig.publish(b"bad\n", b"bad\n")
    worker.says("2 messages in a row failed")
    worker.signal(signal.SIGTERM)
    worker.says("SIGTERM: stopping already")
    worker.signal(signal.SIGURG)
    assert name_of(worker) == "draining"
    finishes(rig, worker, code=1)


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


def test_drain_bounds_the_wait(rig: Rig, held: WorkerProcess) -> None:
    second = rig.tmp / "second"
    worker = rig.worker("--drain", "0.5", rig.action(f"touch {second}; sleep 300", "sleeps"))
    held.kill()
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
    forks = """sh -c 'trap "" TERM; while :; do sleep 1; done' & echo $$ $!"""
    action = rig.action(f"{forks} > {pids}.new; mv {pids}.new {pids}; wait")
    worker = rig.worker("--drain", "0", "--kill-after", "0.5", action)
    rig.publish(b"x")
    until(pids.exists, "the action runs")
    assert worker.stop() == 0
    _ended(pids)


def _ended(pids: Path) -> None:
    """What was sent KILL takes a moment to end."""
    numbers = [int(pid) for pid in pids.read_text().split()]
    assert len(numbers) == 2
    until(lambda: not [pid for pid in numbers if runs(pid)], "all of the group has ended")


# The broker answers less often than this until a worker consumes.
_MOMENTS = range(1, 60)


def _stopped_at(rig: Rig, moment: int) -> tuple[int, str]:
    """Exit code and words of a worker that is told to stop while the broker's answer of this number is on its way.

    When there are not as many answers, it is told when it consumes.
    """
    network, answers = Network(rig.url), itertools.count(1)
    worker = rig.worker("cat", url=network.url, consuming=False)

    def answered() -> None:
        if next(answers) == moment:
            worker.signal(signal.SIGTERM)
            worker.says("stopping")

    network.answered = answered
    network.up()
    until(lambda: "stopping" in worker.log or "consuming from" in worker.log, "it stops or consumes")
    if "stopping" not in worker.log:
        worker.signal(signal.SIGTERM)
    code = worker.exit_code()
    network.down()
    return code, worker.log


def test_a_stop_at_any_moment_of_the_start_ends_in_good_order(rig: Rig) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda moment: _stopped_at(rig, moment), _MOMENTS))
    assert [log for code, log in found if code or "Traceback" in log] == []
    assert "consuming from" not in found[0][1]
    assert "consuming from" in found[-1][1]
