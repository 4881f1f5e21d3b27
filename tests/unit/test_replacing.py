"""What the logs of new workers say of their action."""

from types import SimpleNamespace

import pytest

from cluster.apps.app import AppSpec, AppStatus, Instance
from cluster.apps.component_apps import Work
from cluster.interrupts import Interrupted
from cluster.operations import replacing
from cluster.operations.replacing import trouble
from scripts.action.jobs import Outcome
from scripts.errors import ServiceAway
from scripts.worker.verdicts import FIRST_SUCCESS, Policy, Verdicts, attempt_line, decide

RUNS = (Instance("w-1", "running"),)


def failure(message: str, attempt: int = 1) -> str:
    outcome, policy = Outcome("failed", "exit 1", seconds=0.1), Policy(3)
    return "cluster_worker: " + attempt_line(message, outcome, attempt, policy, decide(outcome, attempt, policy))


def said(*lines: str, waited: int = 100) -> str:
    return trouble(RUNS, Verdicts.read(["cluster_worker: consuming from 'q' at amqp://h", *lines]), waited)


@pytest.mark.parametrize(
    ("lines", "waited"),
    [
        ([failure(f"m{number}") for number in range(10)], 1000),
        ([failure("same")] * 10, 1000),
        ([failure(f"m {number}", 3) for number in range(4)], 4),
        ([failure("m", attempt) for attempt in (1, 2, 3)], 1),
    ],
)
def test_all_that_was_taken_failed(lines, waited):
    assert "the last: " in said(*lines, waited=waited)


@pytest.mark.parametrize(
    ("lines", "waited"),
    [
        ([], 10),
        ([failure(f"m{number}") for number in range(9)], 1000),
        ([failure("m1"), failure("m2")], 2),
        ([failure("m", attempt) for attempt in (1, 2, 3)], 2),
        (["m1\tcluster_worker: m: x, attempt 1 of 3; again in 1 s"] * 10, 10),
    ],
)
def test_nothing_can_be_told_yet(lines, waited):
    assert said(*lines, waited=waited) == ""


def test_a_success_is_seen_whatever_an_action_prints():
    assert Verdicts.read([f"cluster_worker: {FIRST_SUCCESS}"]).succeeded
    assert not Verdicts.read([f"m1\tcluster_worker: {FIRST_SUCCESS}"]).succeeded


def test_a_worker_that_ends_is_named_with_its_last_message():
    ended = Instance("w-2", "unhealthy", detail="ended with exit code 1, starting again")
    found = trouble([*RUNS, ended], Verdicts.read([failure("m1")]), 10)
    assert found.startswith("w-2 ended with exit code 1")
    assert "m1: exit 1" in found


def test_an_interruption_of_the_trial_replaces_nothing():
    def run_once(app):
        raise Interrupted("interrupted")

    with pytest.raises(Interrupted):
        replacing.check_action(SimpleNamespace(run_once=run_once), AppSpec("/w"), Work("q", ("cat",)), print)


def test_a_broker_that_is_away_for_a_moment_says_nothing_of_the_workers(monkeypatch):
    monkeypatch.setattr(replacing, "_IDLE_S", 0)
    monkeypatch.setattr(replacing, "_LOOK_EVERY_S", 0)
    answers = [ServiceAway("no broker"), 1, 0]

    def waiting():
        answer = answers.pop(0)
        if isinstance(answer, ServiceAway):
            raise answer
        return answer

    engine = SimpleNamespace(status=lambda: [AppStatus(AppSpec("/w"), RUNS)], logs=lambda *_: [])
    replacing.watch(engine, "/w", waiting, 1)
    assert answers == []
