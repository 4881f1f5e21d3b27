"""SIGTERM to a worker and its actions at once, as a cluster that takes their place back sends it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from scripts.amqp.queues import retry_queue
from scripts.worker.eviction import VARIABLE
from tests.integration.worker_rig import ENTRY, Rig, WorkerProcess, patched
from tests.processes import runs
from tests.waiting import until

pytestmark = pytest.mark.broker

GRACE = {VARIABLE: "100"}
ORDERS = ["action first", "worker first"]

# A busy machine may take its time between the two signals.
PATIENT = "from scripts.worker import eviction; eviction._LATER_S = eviction._LATER_OF_TERM_S = eviction._NEAR_S = 30"

# Those who wait for exits: the one of today's kernels, and the other.
WATCHES = {"pidfd": PATIENT, "SIGCHLD": f"import os; del os.pidfd_open; {PATIENT}"}

IGNORES = "while :; do sleep 0.02; done"
ENDINGS = {
    "killed by SIGTERM": "exec sleep 300",
    "exit 143": f"trap 'exit 143' TERM; {IGNORES}",
    "exit 1": f"trap 'exit 1' TERM; {IGNORES}",
    "exit 65": f"trap 'exit 65' TERM; {IGNORES}",
}


@pytest.fixture
def pids(rig: Rig) -> Path:
    """Where an action says who it is."""
    return rig.tmp / "pids"


def said(pids: Path, count: int = 1) -> list[int]:
    until(lambda: pids.exists() and pids.read_text().count("\n") == count, f"{count} actions run")
    return [int(pid) for pid in pids.read_text().split()]


def evict(worker: WorkerProcess, actions: list[int], order: str = "worker first") -> None:
    """Send TERM to all; the one is to know it before the other is told."""
    if order == "worker first":
        worker.signal(signal.SIGTERM)
        worker.says("SIGTERM: evicted")
    for pid in actions:
        os.kill(pid, signal.SIGTERM)
    if order == "action first":
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in actions), "the worker has reaped the actions")
        worker.signal(signal.SIGTERM)


def back_as_new(rig: Rig, count: int = 1) -> None:
    """All messages are back, and no attempt is counted."""
    messages = rig.take(count=count)
    assert all("x-cluster-attempt" not in message.headers for message in messages)
    assert [message.lost for message in messages] == [0] * count
    assert rig.ready(rig.failed) == 0


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("watch", WATCHES)
@pytest.mark.parametrize("ending", ENDINGS)
def test_what_ends_with_its_worker_is_handed_back(rig: Rig, pids: Path, order: str, watch: str, ending: str) -> None:
    action = rig.action(f"echo $$ >> {pids}; {ENDINGS[ending]}")
    worker = rig.worker("--attempts", "1", action, entry=patched(WATCHES[watch]), **GRACE)
    rig.publish(b"x")
    evict(worker, said(pids), order)
    assert worker.exit_code() == 0
    assert f"m0: {ending} as the worker was evicted" in worker.log
    back_as_new(rig)


@pytest.mark.parametrize("order", ORDERS)
def test_many_at_once_are_no_fault_of_the_host(rig: Rig, pids: Path, order: str) -> None:
    """More than the breaker takes."""
    log = rig.tmp / "log"
    action = rig.action(f"echo $$ >> {pids}; exec sleep 300")
    flags = ("-j", "12", "--breaker", "3", "--joblog", str(log))
    worker = rig.worker(*flags, action, entry=patched(PATIENT), **GRACE)
    rig.publish(*[b"x"] * 12)
    evict(worker, said(pids, 12), order)
    assert worker.exit_code() == 0
    lines = [line.split("\t") for line in log.read_text().splitlines()[1:]]
    assert [(line[7], line[12]) for line in lines] == [("15", "killed")] * 12
    back_as_new(rig, 12)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("watch", WATCHES)
def test_one_that_is_kept_alive_is_handed_back_as_well(rig: Rig, pids: Path, order: str, watch: str) -> None:
    action = rig.action(f"echo 'ready 1' >&3; read -r line; echo $$ >> {pids}; exec sleep 300")
    worker = rig.worker("--keep-alive", "--attempts", "1", action, entry=patched(WATCHES[watch]), **GRACE)
    rig.publish(b"x")
    evict(worker, said(pids), order)
    assert worker.exit_code() == 0
    back_as_new(rig)


def test_a_bad_verdict_is_the_eviction_s_as_well(rig: Rig, pids: Path) -> None:
    action = rig.action(
        f"trap 'echo reject >&3; exit' TERM; echo 'ready 1' >&3; read -r line; echo $$ >> {pids}; {IGNORES}"
    )
    worker = rig.worker("--keep-alive", action, entry=patched(PATIENT), **GRACE)
    rig.publish(b"x")
    evict(worker, said(pids), "worker first")
    assert worker.exit_code() == 0
    back_as_new(rig)


def test_one_that_runs_alone_keeps_the_attempts_that_it_had(rig: Rig, pids: Path) -> None:
    rig.declare()
    rig.publish(b"x")
    rig.lose(2)
    worker = rig.worker(rig.action(f"echo $$ >> {pids}; exec sleep 300"), entry=patched(PATIENT), **GRACE)
    evict(worker, said(pids), "action first")
    assert worker.exit_code() == 0
    (message,) = rig.take()
    assert message.headers["x-cluster-attempt"] == 2
    assert "x-cluster-alone" not in message.headers


def test_a_success_within_the_grace_is_one(rig: Rig, pids: Path) -> None:
    action = rig.action(f"trap '' TERM; echo $$ >> {pids}; {rig.gate.wait}; echo finished")
    worker = rig.worker("--prefetch", "3", action, **GRACE)
    rig.publish(b"x", b"y", b"z")
    actions = said(pids)
    until(lambda: rig.ready() == 0, "two wait for their turn")
    evict(worker, actions)
    until(lambda: rig.ready() == 2, "they are back")
    assert worker.process.poll() is None
    rig.gate.open()
    assert (worker.exit_code(), worker.out) == (0, b"finished\n")
    back_as_new(rig, 2)


@pytest.mark.parametrize("kind", ["a process each", "kept alive"])
def test_one_that_goes_on_is_killed_when_the_grace_is_over(rig: Rig, pids: Path, kind: str) -> None:
    begin, flags = ("", []) if kind == "a process each" else ("echo 'ready 1' >&3; read -r line;", ["--keep-alive"])
    action = rig.action(f"trap '' TERM; {begin} echo $$ >> {pids}; {IGNORES}")
    worker = rig.worker(*flags, "--kill-after", "100", action, **{VARIABLE: "0.5"})
    rig.publish(b"x")
    actions = said(pids)
    evict(worker, actions)
    assert worker.exit_code() == 0
    until(lambda: not runs(actions[0]), "it was killed")
    back_as_new(rig)


def test_one_that_is_over_its_time_does_not_outlast_the_grace(rig: Rig, pids: Path) -> None:
    action = rig.action(f"trap '' TERM; echo $$ >> {pids}; {IGNORES}")
    worker = rig.worker("--timeout", "0.5", "--kill-after", "100", action, **{VARIABLE: "2"})
    rig.publish(b"x")
    evict(worker, said(pids))
    assert worker.exit_code() == 0
    back_as_new(rig)


def test_what_fails_later_by_itself_counts(rig: Rig, pids: Path) -> None:
    soon = patched("from scripts.worker import eviction; eviction._NEAR_S = 0")
    action = rig.action(f"trap '' TERM; echo $$ >> {pids}; {rig.gate.wait}; exit 1")
    worker = rig.worker("--backoff", "64", action, entry=soon, **GRACE)
    rig.publish(b"x")
    evict(worker, said(pids))
    rig.gate.open()
    assert worker.exit_code() == 0
    assert rig.take(retry_queue(rig.queue, 64))[0].headers["x-cluster-attempt"] == 1


def test_without_an_eviction_a_failure_counts(rig: Rig) -> None:
    worker = rig.worker("--attempts", "1", rig.action("kill -TERM $$"), **GRACE)
    rig.publish(b"x")
    assert rig.take_failed()[0].headers["x-cluster-attempt"] == 1
    assert worker.stop() == 0


def test_the_breaker_opens_as_soon_as_without(rig: Rig) -> None:
    """Of many that wait no more begin while failures are undecided that open it."""
    log = rig.tmp / "log"
    flags = ["-j", "2", "--prefetch", "50", "--breaker", "4", "--joblog", str(log)]
    rig.declare()
    rig.publish(*[b"x"] * 50)
    worker = rig.worker(*flags, "false", consuming=False, **GRACE)
    assert worker.exit_code() == 1
    assert 4 <= len(log.read_text().splitlines()) - 1 <= 5


def test_int_drains(rig: Rig, pids: Path) -> None:
    worker = rig.worker(rig.action(f"echo $$ >> {pids}; {rig.gate.wait}; echo finished"), **GRACE)
    rig.publish(b"x")
    said(pids)
    worker.signal(signal.SIGINT)
    worker.says("SIGINT: stopping")
    rig.gate.open()
    assert (worker.exit_code(), worker.out, rig.ready()) == (0, b"finished\n", 0)


def test_a_second_int_does_not_wait(rig: Rig, pids: Path) -> None:
    worker = rig.worker(rig.action(f"echo $$ >> {pids}; exec sleep 300"), **GRACE)
    rig.publish(b"x")
    said(pids)
    until(lambda: "ending what runs now" in worker.log or worker.signal(signal.SIGINT), "it does not wait")
    assert worker.exit_code() == 0
    back_as_new(rig)


def test_term_after_int_is_an_eviction_and_int_after_term_changes_nothing(rig: Rig, pids: Path) -> None:
    worker = rig.worker(rig.action(f"trap '' TERM; echo $$ >> {pids}; {rig.gate.wait}; echo finished"), **GRACE)
    rig.publish(b"x", b"y")
    actions = said(pids)
    worker.signal(signal.SIGINT)
    worker.says("SIGINT: stopping")
    evict(worker, actions)
    for _ in range(3):
        worker.signal(signal.SIGINT)
        worker.signal(signal.SIGTERM)
        until(lambda: rig.ready() == 1, "the other was never taken")
    rig.gate.open()
    assert (worker.exit_code(), worker.out, rig.ready()) == (0, b"finished\n", 1)
    assert "ending what runs now" not in worker.log


def test_an_action_is_told_nothing_of_it(rig: Rig) -> None:
    worker = rig.worker(rig.action(f"echo ${{{VARIABLE}:-unset}}"), **GRACE)
    rig.publish(b"x")
    until(lambda: worker.out == b"unset\n", "a message")
    assert worker.stop() == 0


def test_a_time_that_is_none_is_refused(rig: Rig) -> None:
    worker = WorkerProcess(["-q", "q", "cat"], rig.tmp, {VARIABLE: "soon"}, ENTRY)
    assert worker.exit_code() == 64
    assert "'soon'" in worker.log
