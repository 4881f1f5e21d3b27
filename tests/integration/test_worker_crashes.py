"""Messages that take their worker down with them, and their innocent neighbours."""

from __future__ import annotations

import pytest

from tests.integration.worker_rig import Rig
from tests.waiting import until

pytestmark = pytest.mark.broker

# What is left of an action whose worker is dead must not go on: its message is somebody else's now.
_KILL_THE_WORKER = "kill -9 $PPID; exit 1"


def _work_through_crashes(rig: Rig, *arguments: str, most: int = 20) -> int:
    """Start workers, one after the other as each dies, until the queue is worked off; how many died."""
    for died in range(most):
        worker = rig.worker(*arguments)
        until(lambda w=worker: w.process.poll() is not None or _worked_off(rig), "it dies, or all is done")
        if worker.process.poll() is None:
            assert worker.stop() == 0
            return died
    raise AssertionError(f"{most} workers died")


def _worked_off(rig: Rig) -> bool:
    done = rig.tmp / "done"
    return (len(set(done.read_text().split())) if done.exists() else 0) + rig.ready(rig.failed) == rig.published


def test_a_message_that_kills_its_worker_fails_after_as_many_attempts(rig: Rig) -> None:
    runs = rig.tmp / "runs"
    rig.declare()
    rig.publish(b"deadly")
    died = _work_through_crashes(rig, rig.action(f"echo $AMQP_ATTEMPT >> {runs}; {_KILL_THE_WORKER}"))
    assert died == 3
    assert runs.read_text().split() == ["1", "2", "3"]
    (message,) = rig.take_failed()
    assert message.body == b"deadly"
    assert message.headers["x-cluster-attempt"] == 3
    assert message.headers["x-cluster-reason"] == (
        "its worker or connection was lost in attempt 3, in which nothing else was running"
    )
    assert "x-cluster-alone" not in message.headers


def test_a_crash_after_a_failure_counts_on(rig: Rig) -> None:
    runs = rig.tmp / "runs"
    rig.declare()
    rig.publish(b"x")
    action = rig.action(f"echo $AMQP_ATTEMPT >> {runs}; [ $AMQP_ATTEMPT = 1 ] && exit 1; {_KILL_THE_WORKER}")
    assert _work_through_crashes(rig, "--backoff", "0", action) == 2
    assert runs.read_text().split() == ["1", "2", "3"]
    assert len(rig.take_failed()) == 1


@pytest.mark.parametrize("options", [("-j", "4"), ("--prefetch", "4"), ("-j", "2", "--prefetch", "6")])
def test_innocent_neighbours_of_a_deadly_message_are_done(rig: Rig, options: tuple[str, ...]) -> None:
    """However often their worker dies under them, they are never failed for it."""
    done = rig.tmp / "done"
    rig.declare()
    rig.publish(b"deadly\n", *[b"innocent\n"] * 6)
    action = rig.action(
        f"read kind; sleep 0.3; [ $kind = deadly ] && {{ {_KILL_THE_WORKER}; }}; echo $AMQP_MESSAGE_ID >> {done}"
    )
    _work_through_crashes(rig, *options, action)
    (message,) = rig.take_failed()
    assert message.body == b"deadly\n"
    assert {f"m{n}" for n in range(1, 7)} <= set(done.read_text().split())


def test_with_one_attempt_a_crash_is_given_one_more_run_alone(rig: Rig) -> None:
    runs = rig.tmp / "runs"
    rig.declare()
    rig.publish(b"deadly")
    action = rig.action(f"echo $AMQP_ATTEMPT >> {runs}; {_KILL_THE_WORKER}")
    assert _work_through_crashes(rig, "--attempts", "1", action) == 2
    assert len(rig.take_failed()) == 1


def test_a_suspect_runs_with_nothing_beside_it(rig: Rig) -> None:
    """A message that was lost with two workers, between others that are fine."""
    marks = rig.tmp / "marks"
    rig.declare()
    rig.publish(b"suspect\n")
    rig.lose(times=2)
    rig.publish(*[b"other\n"] * 6, message_id="other")
    action = rig.action(f"read kind; echo begin $kind $AMQP_ATTEMPT >> {marks}; sleep 0.2; echo end $kind >> {marks}")
    worker = rig.worker("-j", "3", "--prefetch", "7", action)
    until(lambda: marks.exists() and marks.read_text().count("end") == 7, "all are done")
    lines = marks.read_text().splitlines()
    at = lines.index("begin suspect 3")
    assert lines[at + 1] == "end suspect"
    assert lines[:at].count("begin other 1") == lines[:at].count("end other")
    assert worker.stop() == 0
    assert rig.ready(rig.failed) == rig.ready(f"{rig.queue}.alone") == rig.ready() == 0


def test_a_suspect_that_fails_is_failed_with_its_own_words(rig: Rig) -> None:
    rig.declare()
    rig.publish(b"x")
    rig.lose(times=2)
    rig.worker(rig.action("echo sorry >&2; exit 7"))
    (message,) = rig.take_failed()
    assert message.headers["x-cluster-exit"] == 7
    assert message.headers["x-cluster-attempt"] == 3
    assert message.headers["x-cluster-stderr"] == "sorry\n"
    assert "x-cluster-alone" not in message.headers


def test_a_suspect_that_is_handed_back_is_not_counted(rig: Rig) -> None:
    started = rig.tmp / "started"
    rig.declare()
    rig.publish(b"x")
    rig.lose(times=2)
    worker = rig.worker("--drain", "0", rig.action(f"touch {started}; sleep 300"))
    until(started.exists, "it runs")
    assert worker.stop() == 0
    last = rig.worker(rig.action('echo "attempt $AMQP_ATTEMPT"'))
    until(lambda: last.out == b"attempt 3\n", "its last attempt")
