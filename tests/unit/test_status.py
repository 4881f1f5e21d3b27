"""The tables of the status, and rates."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cluster.apps.app import AppSpec, AppStatus, Instance
from cluster.operations import status_tables
from cluster.operations.status import Rates, Seen, look
from cluster.operations.status_tables import left, queues, remarks, span, table, workers
from cluster.queue.counts import WorkQueue, work_queues
from cluster.schedulers import Scheduler
from cluster.settings import Settings
from scripts.amqp.management import QueueCount
from scripts.amqp.workers import Report, Running
from scripts.errors import ClusterError
from scripts.worker.reporting import Pace
from tests.conftest import defaults

LONG = "a-queue-with-a-name-of-forty-characters-"


def report(
    pid: int = 1, done: int = 0, failed: int = 0, *, queue: str = "q", seconds: float = 0, **more: object
) -> Report:
    running = (Running(f"id-{pid}", None, 1, seconds),) if seconds else ()
    given = {"state": "taking", "reason": "", "rate": 0.0, "in_hand": len(running), "subscriptions": 1} | more
    return Report(
        queue=queue, host="host", pid=pid, name="", version="1", since=time.time(), jobs=4, done=done, failed=failed,
        retried=0, taken=0, running=running, **given,  # type: ignore[arg-type]
    )  # fmt: skip


def counts(ready: int = 0, unacknowledged: int = 0, consumers: int = 0) -> list[QueueCount]:
    return [QueueCount("q", ready, unacknowledged, consumers, rate_in=7.0), QueueCount("q.failed", 3, 0, 0)]


def test_a_table_fits_its_width_and_is_whole_without_one() -> None:
    rows = [(LONG, "1,000", "x"), ("short", "7", "x" * 30)]
    whole = table(("NAME", "COUNT", ""), rows, ("COUNT",)).splitlines()
    assert (LONG in whole[1], whole[2].index("7")) == (True, whole[1].index("1,000") + 4)
    cut = table(("NAME", "COUNT", ""), rows, ("COUNT",), 60).splitlines()
    assert max(map(len, cut)) == 60
    assert "1,000" in cut[1]


def test_the_usual_tables_fit_into_80_columns() -> None:
    work = WorkQueue("temperatures", 1_234_567, 1000, 12345, 12345, 200, False, 1_234_567, 3, 1234.5, 1234.5)
    one = report(4_194_304, 123_456, 12_345, queue="temperatures", seconds=4000)
    for text in (queues([work], 80), workers([one], 80)):
        assert max(map(len, text.splitlines())) <= 80


def test_those_that_run_longest_come_first_and_the_rest_is_counted() -> None:
    lines = workers([report(pid, seconds=pid) for pid in range(1, 41)], None).splitlines()
    assert "host 40" in lines[1]
    assert "25" in lines[-1]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "0 s"), (119, "119 s"), (120, "2 min"), (86400, "24 h"), (2e5, "2 d")]
)
def test_a_time_has_one_unit(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_what_workers_say_is_put_beside_their_queue() -> None:
    reports = [report(1, 10, 1, rate=2.0, in_hand=3), report(2, 20, 0, rate=3.0, in_hand=2), report(3, queue="other")]
    [one] = work_queues(counts(ready=20, unacknowledged=99, consumers=2), reports)
    assert (one.in_work, one.done, one.gave_up, one.workers) == (5, 31, 1, 2)
    assert (one.rate_in, one.rate_out, one.left_s) == (7.0, 5.0, 5.0)


def test_what_others_have_in_hand_only_the_broker_knows() -> None:
    [one] = work_queues(counts(unacknowledged=99, consumers=3), [report(in_hand=1), report(2, in_hand=1)])
    assert (one.in_work, one.workers) == (99, 3)


def test_a_paused_queue_is_known_by_its_mark() -> None:
    [one] = work_queues([*counts(ready=1), QueueCount("q.paused", 0, 0, 0)])
    assert one.paused
    assert "paused" in queues([one], None)
    assert any("queue.resume" in line for line in remarks([one], [], [], "", ""))


def test_nobody_is_told_to_start_other_workers_for_a_run() -> None:
    [one] = work_queues([QueueCount("q", 1, 0, 0), QueueCount("q.results.0123abcd", 0, 0, 1)])
    [line] = remarks([one], [], [], "", "worker.deploy")
    assert ("0123abcd" in line, "worker.deploy" in line) == (True, False)


@pytest.mark.parametrize(
    ("waiting", "rate", "words"), [(0, 0.0, "-"), (5, 0.0, "?"), (None, 1.0, "?"), (600, 2.0, "5 min"), (0, 3.0, "-")]
)
def test_the_time_left(waiting: int | None, rate: float, words: str) -> None:
    assert left(WorkQueue("q", waiting, 0, 0, 0, 1, rate_out=rate)) == words


def test_what_is_said_of_another_broker_can_be_typed() -> None:
    url = "amqp://127.0.0.1:1?heartbeat=5&retry_delay=1"
    flag = look(Settings.read(defaults()), [], url).flag
    assert subprocess.check_output(["sh", "-c", f"printf '%s '{flag}"], text=True) == f"-u {url} "


def test_rates_are_those_between_two_looks_and_never_below_nothing() -> None:
    rates, seen = Rates(), [(0.0, 100), (2.0, 110), (4.0, 50), (6.0, 58)]
    for at_s, done in seen:
        rates.add(Seen((), (), counts(consumers=1), [report(done=done)], at_s=at_s))
    assert list(rates.past["q"]) == [5.0, 0.0, 4.0]


def steady(pace: Pace, per_s: int, seconds: range) -> Iterator[float]:
    for now_s in seconds:
        pace.count(now_s, per_s)
        yield pace.rate(now_s)


def test_a_pace_is_that_of_the_last_minute() -> None:
    pace = Pace(0)
    assert pace.rate(10) == 0
    *_, rate = steady(pace, 10, range(1, 200))
    assert rate == pytest.approx(10, rel=0.15)
    *_, rate = steady(pace, 1, range(200, 300))
    assert rate == pytest.approx(1, rel=0.15)
    assert pace.rate(400) == 0


def test_a_report_survives_its_way_and_what_is_none_is_refused() -> None:
    one = report(7, 1, 2, seconds=3)
    assert Report.read(one.encoded()) == one
    assert Report.read(one.encoded().replace(b'"pid"', b'"later": 1, "pid"')) == one
    for body in (b"", b"[]", b"{}", b'{"running": 1}', one.encoded().replace(b'"pid"', b'"other"'), b"\xff"):
        with pytest.raises(ClusterError):
            Report.read(body)


def shown(*instances: Instance, **spec: Any) -> list[list[str]]:
    """The lines of an app in the table, as their cells."""
    engine = cast(Scheduler, SimpleNamespace(name="jobs", has_images=False))
    text = status_tables.apps([(engine, AppStatus(AppSpec("/w", **spec), instances))], [None], None)
    return [re.split(r" {2,}", line.strip()) for line in text.splitlines()[1:]]


def waiting(count: int, why: str, first: int = 0) -> list[Instance]:
    return [Instance(f"w-{number}", "waiting", detail=why) for number in range(first, first + count)]


def test_many_instances_in_one_state_are_one_line() -> None:
    runs = [Instance(f"r-{number}", "running") for number in range(3)]
    lines = shown(*runs, *waiting(990, "Priority"), *waiting(1, "Resources", 990), *waiting(6, "Licenses", 991))
    assert lines[0][:3] == ["/w", "jobs", "3/1000"]
    assert lines[1:] == [
        ["990 instances", "waiting: Priority"], ["6 instances", "waiting: Licenses"], ["w-990", "waiting: Resources"],
    ]  # fmt: skip
    ended = [Instance(f"e-{number}", "stopped", detail="exit code 1") for number in range(2)]
    assert shown(*waiting(2, "Priority"), *ended)[1:] == [
        ["2 instances", "waiting: Priority"], ["e-0", "stopped: exit code 1"], ["e-1", "stopped: exit code 1"],
    ]  # fmt: skip


def test_instances_that_are_all_ill_in_their_own_way_are_cut() -> None:
    lines = shown(*(Instance(f"w-{number}", "stopped", detail=f"exit code {number}") for number in range(9)))
    assert len(lines) == 1 + 5 + 1
    assert lines[-1] == ["and 4 more"]


def test_an_app_that_follows_its_queue_says_how_far() -> None:
    assert shown(instances=0, max_instances=40)[0] == ["/w", "jobs", "0/0", "0 to 40 wanted"]


def test_what_waits_is_counted_by_its_reasons() -> None:
    status = AppStatus(AppSpec("/w"), (Instance("r", "running"), *waiting(15, "Priority"), *waiting(2, "Resources")))
    assert status.shortage == "17 wait: 15 Priority, 2 Resources"
    assert replace(status, instances=tuple(waiting(1, "Priority"))).shortage == "1 waits: Priority"
    assert replace(status, instances=tuple(waiting(2, ""))).shortage == "2 wait"
    assert replace(status, instances=(Instance("r", "running"),)).shortage == ""
