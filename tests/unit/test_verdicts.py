from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.action.jobs import Outcome
from scripts.worker.headers import Handled
from scripts.worker.verdicts import Ack, Fail, HandBack, Policy, Retry, Run, admit, decide, worker_lost

POLICY = Policy(attempts=3, backoff_s=1, backoff_max_s=64)


@pytest.mark.parametrize(
    ("past", "admission"),
    [
        (Handled(0, 0, False), Run(1)),
        (Handled(1, 0, False), Run(2)),
        (Handled(2, 0, False), Run(3)),
        # Lost once: perhaps by its own fault, but it has attempts left.
        (Handled(0, 1, False), Run(2)),
        # Its last attempt, and it is suspect.
        (Handled(0, 2, False), Run(3, alone=True)),
        (Handled(1, 1, False), Run(3, alone=True)),
        (Handled(0, 7, False), Run(3, alone=True)),
        # Its last attempt, but no suspicion.
        (Handled(5, 0, False), Run(6)),
        # It came back from where nothing ran beside it.
        (Handled(3, 0, True), Fail(worker_lost(3))),
        (Handled(3, 1, True), Fail(worker_lost(3))),
        # The number of attempts was raised meanwhile.
        (Handled(1, 0, True), Run(2, alone=True)),
    ],
)
def test_admit(past: Handled, admission: Run | Fail) -> None:
    assert admit(past, POLICY) == admission


@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 10))
def test_a_message_is_never_failed_for_lost_deliveries_alone(attempts: int, lost: int, limit: int) -> None:
    assert isinstance(admit(Handled(attempts, lost, False), Policy(limit)), Run)


@given(st.integers(1, 10))
def test_a_deadly_message_runs_as_often_as_allowed(limit: int) -> None:
    """Delivered, run, lost, until it fails; with one attempt it gets another one, since the first proves nothing."""
    policy, runs, past = Policy(limit), 0, Handled(0, 0, False)
    while isinstance(admission := admit(past, policy), Run):
        runs += 1
        past = Handled(admission.attempt, 0, True) if admission.alone else Handled(0, past.lost + 1, False)
    assert runs == max(2, limit)


@pytest.mark.parametrize(
    ("outcome", "attempt", "decision"),
    [
        (Outcome("done"), 1, Ack()),
        (Outcome("done"), 9, Ack()),
        (Outcome("rejected", "exit 65"), 1, Fail("exit 65")),
        (Outcome("failed", "exit 1"), 1, Retry(1)),
        (Outcome("failed", "exit 1"), 2, Retry(2)),
        (Outcome("failed", "exit 1"), 3, Fail("exit 1")),
        (Outcome("failed", "exit 1"), 4, Fail("exit 1")),
        (Outcome("failed", "busy", retry_after_s=7.5), 1, Retry(7.5)),
        (Outcome("failed", "busy", retry_after_s=7.5), 3, Fail("busy")),
        (Outcome("killed"), 3, HandBack()),
        (Outcome("unstartable"), 3, HandBack()),
    ],
)
def test_decide(outcome: Outcome, attempt: int, decision: object) -> None:
    assert decide(outcome, attempt, POLICY) == decision


def test_pauses_are_doubled_up_to_the_longest() -> None:
    policy = Policy(attempts=99, backoff_s=0.5, backoff_max_s=10)
    pauses = [decide(Outcome("failed"), attempt, policy) for attempt in range(1, 8)]
    assert pauses == [Retry(pause) for pause in (0.5, 1, 2, 4, 8, 10, 10)]


def test_many_attempts_do_not_overflow() -> None:
    assert decide(Outcome("failed"), 5000, Policy(attempts=9999)) == Retry(64)
