from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.action.jobs import Outcome
from scripts.worker.headers import Past
from scripts.worker.verdicts import Admission, Decision, Policy, admit, decide, worker_lost

POLICY = Policy(attempts=3, backoff_s=1, backoff_max_s=64)


@pytest.mark.parametrize(
    ("past", "admission"),
    [
        (Past(0, 0, False), Admission(1)),
        (Past(1, 0, False), Admission(2)),
        (Past(2, 0, False), Admission(3)),
        # Lost once: perhaps by its own fault, but it has attempts left.
        (Past(0, 1, False), Admission(2)),
        # Its last attempt, and it is suspect.
        (Past(0, 2, False), Admission(3, alone=True)),
        (Past(1, 1, False), Admission(3, alone=True)),
        (Past(0, 7, False), Admission(3, alone=True)),
        # Its last attempt, but no suspicion.
        (Past(5, 0, False), Admission(6)),
        # It came back from where nothing ran beside it.
        (Past(3, 0, True), Admission(3, True, worker_lost(3))),
        (Past(3, 1, True), Admission(3, True, worker_lost(3))),
        # The number of attempts was raised meanwhile.
        (Past(1, 0, True), Admission(2, alone=True)),
    ],
)
def test_admit(past: Past, admission: Admission) -> None:
    assert admit(past, POLICY) == admission


@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 10))
def test_a_message_is_never_failed_for_lost_deliveries_alone(attempts: int, lost: int, limit: int) -> None:
    assert not admit(Past(attempts, lost, False), Policy(limit)).refusal


@given(st.integers(1, 10))
def test_a_deadly_message_runs_as_often_as_allowed(limit: int) -> None:
    """Delivered, run, lost, until it fails; with one attempt it gets another one, since the first proves nothing."""
    policy, runs, past = Policy(limit), 0, Past(0, 0, False)
    while not (admission := admit(past, policy)).refusal:
        runs += 1
        past = Past(admission.attempt, 0, True) if admission.alone else Past(0, past.lost + 1, False)
    assert runs == max(2, limit)


@pytest.mark.parametrize(
    ("outcome", "attempt", "decision"),
    [
        (Outcome("done"), 1, Decision("ack")),
        (Outcome("done"), 9, Decision("ack")),
        (Outcome("rejected", "exit 65"), 1, Decision("fail")),
        (Outcome("failed", "exit 1"), 1, Decision("retry", 1)),
        (Outcome("failed", "exit 1"), 2, Decision("retry", 2)),
        (Outcome("failed", "exit 1"), 3, Decision("fail")),
        (Outcome("failed", "exit 1"), 4, Decision("fail")),
        (Outcome("failed", "busy", retry_after_s=7.5), 1, Decision("retry", 7.5)),
        (Outcome("failed", "busy", retry_after_s=7.5), 3, Decision("fail")),
        (Outcome("killed"), 3, Decision("hand back")),
        (Outcome("unstartable"), 3, Decision("hand back")),
    ],
)
def test_decide(outcome: Outcome, attempt: int, decision: object) -> None:
    assert decide(outcome, attempt, POLICY) == decision


def test_pauses_are_doubled_up_to_the_longest() -> None:
    policy = Policy(attempts=99, backoff_s=0.5, backoff_max_s=10)
    pauses = [decide(Outcome("failed"), attempt, policy) for attempt in range(1, 8)]
    assert pauses == [Decision("retry", pause) for pause in (0.5, 1, 2, 4, 8, 10, 10)]


def test_many_attempts_do_not_overflow() -> None:
    assert decide(Outcome("failed"), 5000, Policy(attempts=9999)) == Decision("retry", 64)
