"""A queue of results (`cluster_worker --results`) that is emptied for good."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.settings import ROOT
from scripts.amqp.queues import alone_queue, failed_queue, results_queue, retry_queue
from tests.integration.worker_rig import Rig
from tests.waiting import until

pytestmark = pytest.mark.broker


@pytest.fixture
def results(rig: Rig) -> Iterator[str]:
    """A queue for the results of the rig's workers."""
    name = f"{rig.queue}.answers"
    yield name
    with rig.channel() as channel:
        channel.queue_delete(name)


def command(rig: Rig, queue: str, output: Path, *more: str) -> list[str]:
    flags = ["-q", queue, "--output", str(output), "-u", rig.url, *more]
    return [sys.executable, str(ROOT / "tasks.py"), "results.collect", *flags]


def collect(rig: Rig, queue: str, output: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(rig, queue, output), capture_output=True, text=True, timeout=60, check=False)


def answer(rig: Rig, queue: str, *bodies: bytes, item: int | None = None, **properties: Any) -> None:
    """Publish results as a worker does."""
    said = {"x-cluster-attempt": 1, "x-cluster-exit": 0, "x-cluster-seconds": "0.100", "x-cluster-host": "h"}
    numbered = said if item is None else said | {"x-cluster-item": item}
    rig.publish(*bodies, queue=queue, headers=numbered, **properties)


def lines(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.read_text().splitlines()]


def test_each_result_is_a_record_and_the_queue_is_empty(rig: Rig, results: str, tmp_path: Path) -> None:
    output = tmp_path / "o.jsonl"
    rig.worker("--results", results, "--attempts", "1", rig.action('read x; echo "$x"; [ "$x" != bad ]'))
    rig.publish(b"one\n", b"bad\n", b"three\n")
    until(lambda: rig.ready(results) == 3, "three results")
    assert collect(rig, results, output).returncode == 0
    found = {line["input"]: line for line in lines(output)}
    assert sorted(line["item"] for line in found.values()) == [1, 2, 3]
    assert (found["m0"]["result"], found["m1"]["result"], found["m1"]["exit"]) == ("one\n", "bad\n", 1)
    assert rig.ready(results) == 0
    rig.publish(b"four\n")
    until(lambda: rig.ready(results) == 1, "one result")
    assert collect(rig, results, output).returncode == 0
    assert [line["item"] for line in lines(output)] == [1, 2, 3, 4]


def test_an_item_keeps_its_number_where_that_is_free(rig: Rig, results: str, tmp_path: Path) -> None:
    output = tmp_path / "o.jsonl"
    rig.declare(results)
    for item in (2, 2**32, 2, None):
        answer(rig, results, b"x", item=item)
    assert collect(rig, results, output).returncode == 0
    assert [line["item"] for line in lines(output)] == [2, 2**32, 1, 3]


def test_what_was_written_and_not_acknowledged_is_not_written_twice(rig: Rig, results: str, tmp_path: Path) -> None:
    output = tmp_path / "o.jsonl"
    rig.declare(results)
    answer(rig, results, b"first", correlation_id="a")
    assert collect(rig, results, output).returncode == 0
    answer(rig, results, b"first", correlation_id="a")
    with rig.channel() as channel:  # somebody had it in hand, and was lost
        until(lambda: channel.basic_get(results)[0], "it is there")
    answer(rig, results, b"second", correlation_id="a")
    assert collect(rig, results, output).returncode == 0
    assert [line["result"] for line in lines(output)] == ["first", "second"]


def test_it_follows_until_it_is_interrupted(rig: Rig, results: str, tmp_path: Path) -> None:
    output = tmp_path / "o.jsonl"
    rig.declare(results)
    with subprocess.Popen(command(rig, results, output, "--follow"), stderr=subprocess.PIPE, text=True) as process:
        for number in (1, 2):
            answer(rig, results, b"x")
            until(lambda count=number: output.exists() and len(lines(output)) == count, "it is in the output")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert rig.ready(results) == 0


def test_a_queue_that_is_not_there_is_named(rig: Rig, results: str, tmp_path: Path) -> None:
    refused = collect(rig, results, tmp_path / "o.jsonl")
    assert refused.returncode == 1
    assert results in refused.stderr


RUN = "0badcafe"


@pytest.mark.parametrize(
    ("name", "next_step"),
    [
        (lambda queue: results_queue(queue, RUN), f"map.cancel --run {RUN}"),
        (failed_queue, "failed.list -q {work}"),
        (lambda queue: retry_queue(queue, 4), "--results"),
        (alone_queue, "--results"),
    ],
)
def test_a_queue_of_something_else_is_refused_by_its_name(
    rig: Rig, tmp_path: Path, name: Callable[[str], str], next_step: str
) -> None:
    queue = name(rig.queue)
    rig.declare(queue)
    answer(rig, queue, b"x")
    refused = collect(rig, queue, tmp_path / "o.jsonl")
    assert refused.returncode == 1
    assert repr(queue) in refused.stderr
    assert next_step.format(work=rig.queue) in refused.stderr
    assert not (tmp_path / "o.jsonl").exists()
    assert [one.lost for one in rig.take(queue)] == [0]


def test_a_work_queue_is_refused_and_no_message_is_touched(rig: Rig, tmp_path: Path) -> None:
    rig.worker("cat").stop()
    rig.publish(b"work")
    refused = collect(rig, rig.queue, tmp_path / "o.jsonl")
    assert refused.returncode == 1
    assert f"{rig.queue!r} is a work queue" in refused.stderr
    assert not (tmp_path / "o.jsonl").exists()
    assert [one.lost for one in rig.take()] == [0]


def test_a_queue_from_which_others_take_is_refused(rig: Rig, results: str, tmp_path: Path) -> None:
    rig.declare(results)
    with rig.channel() as channel:
        channel.basic_qos(prefetch_count=1)
        channel.basic_consume(results, lambda *_: None)
        answer(rig, results, b"one", b"two")
        refused = collect(rig, results, tmp_path / "o.jsonl")
    assert (refused.returncode, repr(results) in refused.stderr) == (1, True)
    assert not (tmp_path / "o.jsonl").exists()
    until(lambda: rig.ready(results) == 2, "both are still there")


def test_work_in_a_queue_that_nobody_knows_stays_where_it_is(rig: Rig, tmp_path: Path) -> None:
    rig.declare()
    rig.publish(*(b"%d" % number for number in range(100)))
    refused = collect(rig, rig.queue, tmp_path / "o.jsonl")
    assert refused.returncode == 1
    assert "m0" in refused.stderr
    assert lines(tmp_path / "o.jsonl") == []
    until(lambda: rig.ready() == 100, "all are back")
    found = rig.take(count=100)
    assert sorted(one.body for one in found) == sorted(b"%d" % number for number in range(100))
    assert sum(one.lost for one in found) <= 1, "only the first one was touched"


@pytest.mark.parametrize("more", [{}, {"x-cluster-worker": "h-1", "x-cluster-first-published": "2026-01-01T00:00:00Z"}])
def test_what_is_no_result_stays_and_the_results_before_it_are_safe(
    rig: Rig, results: str, tmp_path: Path, more: dict[str, str]
) -> None:
    output = tmp_path / "o.jsonl"
    rig.declare(results)
    answer(rig, results, *(b"%d" % number for number in range(50)))
    said = {"x-cluster-attempt": 3, "x-cluster-seconds": "0.100", "x-cluster-host": "h"} if more else {}
    rig.publish(b"foreign", queue=results, message_id="who", headers=said | more)
    answer(rig, results, b"last", correlation_id="last")
    refused = collect(rig, results, output)
    assert refused.returncode == 1
    assert "'who'" in refused.stderr
    assert [line["result"] for line in lines(output)] == [f"{number}" for number in range(50)]
    until(lambda: rig.ready(results) == 2, "the others are back")
    assert {one.body for one in rig.take(results, 2)} == {b"foreign", b"last"}
    answer(rig, results, b"more")
    assert collect(rig, results, output).returncode == 0
    assert [line["result"] for line in lines(output)][50:] == ["more"]
