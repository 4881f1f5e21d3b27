"""The decisions of slurm_keeper: how many jobs there should be, and what is done for that."""

from __future__ import annotations

import pytest

from scripts.amqp.work import Work
from scripts.slurm_keeper import Job, Pauses, Step, Terms, clean, decide, pieces, read_jobs, requeued, wanted

ELASTIC = Terms(slots=4, least=0, most=40)


def work(ready: int = 0, later: int = 0, consumers: int = 0, is_paused: bool = False) -> Work:
    return Work(ready, later, consumers, is_paused)


def jobs(running: int, waiting: int) -> list[Job]:
    states = ["RUNNING"] * running + ["PENDING"] * waiting
    return [Job(f"7_{number}", state, "None") for number, state in enumerate(states, 1)]


@pytest.mark.parametrize(
    ("there", "running", "terms", "expected"),
    [
        (work(), 0, ELASTIC, 0),
        (work(), 0, Terms(4, 2, 40), 2),
        (work(ready=1), 0, ELASTIC, 1),
        (work(ready=9), 0, ELASTIC, 3),
        (work(later=9), 0, ELASTIC, 3),
        (work(ready=1000), 0, ELASTIC, 40),
        # Those that take messages are busy, or none would be ready.
        (work(ready=8, consumers=3), 3, ELASTIC, 5),
        # Of three that have begun one takes none yet: it will.
        (work(ready=8, consumers=2), 3, ELASTIC, 4),
        # Others are no jobs of ours.
        (work(ready=8, consumers=20), 3, ELASTIC, 5),
        # What comes back later finds those that are there.
        (work(later=8, consumers=3), 3, ELASTIC, 2),
        (work(ready=1000, is_paused=True), 0, Terms(4, 1, 40), 1),
    ],
)
def test_the_jobs_that_are_needed(there: Work, running: int, terms: Terms, expected: int) -> None:
    assert wanted(there, running, terms) == expected


@pytest.mark.parametrize(
    ("there", "now", "step"),
    [
        (work(ready=9), jobs(0, 0), Step(submit=3)),
        (work(ready=9), jobs(0, 1), Step(submit=2)),
        (work(ready=9), jobs(0, 3), Step()),
        # The youngest go.
        (work(ready=9), jobs(0, 5), Step(cancel=("7_4", "7_5"))),
        (work(), jobs(2, 3), Step(cancel=("7_3", "7_4", "7_5"))),
        # What runs stays.
        (work(), jobs(5, 0), Step()),
        (work(ready=1000, consumers=38), jobs(38, 5), Step(cancel=("7_41", "7_42", "7_43"))),
    ],
)
def test_the_next_step(there: Work, now: list[Job], step: Step) -> None:
    assert decide(there, now, ELASTIC) == step


def test_jobs_are_read_as_squeue_prints_them() -> None:
    text = (
        "12_1|RUNNING|None|in=a;x\n12_2|PENDING|BeginTime|in=a;\n13|COMPLETING|None|in=a;\n14|CONFIGURING|None|in=a;|b\n"
        "15|PENDING|None|in=b;\n16|RUNNING|None\n\n"
    )
    found = read_jobs(text, "in=a;")
    assert [(job.id, job.waits) for job in found] == [("12_1", False), ("12_2", True), ("14", False)]
    assert requeued(found) == ["12_2"]


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (1, [1]), (1000, [1000]), (2001, [1000, 1000, 1])])
def test_arrays_are_as_large_as_a_site_allows(count: int, sizes: list[int]) -> None:
    assert pieces(count) == sizes


def test_jobs_do_not_inherit_what_is_this_one_s() -> None:
    found = {"PATH": "/bin", "SLURM_CONF": "/etc/s", "SLURM_JOB_ID": "7", "MESOS_TASK_ID": "x", "AMQP_PASSWORD": "p"}
    assert clean(found) == {"PATH": "/bin", "SLURM_CONF": "/etc/s"}


def test_jobs_that_come_to_nothing_are_submitted_ever_more_slowly() -> None:
    pauses, now_s, waits = Pauses(), 0.0, []
    for _ in range(7):
        asked_s = now_s
        while not pauses.look(now_s, left=10, jobs=0):
            now_s += 1
        waits.append(now_s - asked_s)
        pauses.submitted(left=10, jobs=3)
    assert waits == [0, 30, 60, 120, 240, 480, 600]


def test_jobs_that_do_their_work_are_submitted_at_once() -> None:
    pauses = Pauses()
    assert pauses.look(0, left=10, jobs=0)
    pauses.submitted(left=10, jobs=3)
    assert not pauses.look(15, left=10, jobs=0)
    assert pauses.look(16, left=9, jobs=0)
    pauses.submitted(left=9, jobs=3)
    assert pauses.look(30, left=9, jobs=3)
    assert pauses.look(45, left=0, jobs=0)
