"""A queue of results (`cluster_worker --results`) that is emptied for good."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.settings import ROOT
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


def test_what_was_written_and_not_acknowledged_is_not_written_twice(rig: Rig, results: str, tmp_path: Path) -> None:
    output = tmp_path / "o.jsonl"
    rig.declare(results)
    rig.publish(b"first", queue=results, correlation_id="a")
    assert collect(rig, results, output).returncode == 0
    rig.publish(b"first", queue=results, correlation_id="a")
    with rig.channel() as channel:  # somebody had it in hand, and was lost
        until(lambda: channel.basic_get(results)[0], "it is there")
    rig.publish(b"second", queue=results, correlation_id="a")
    assert collect(rig, results, output).returncode == 0
    assert [line["result"] for line in lines(output)] == ["first", "second"]


def test_it_follows_until_it_is_interrupted(rig: Rig, results: str, tmp_path: Path) -> None:
    output = tmp_path / "o.jsonl"
    rig.declare(results)
    with subprocess.Popen(command(rig, results, output, "--follow"), stderr=subprocess.PIPE, text=True) as process:
        for number in (1, 2):
            rig.publish(b"x", queue=results)
            until(lambda count=number: output.exists() and len(lines(output)) == count, "it is in the output")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert rig.ready(results) == 0


def test_a_queue_that_is_not_there_is_named(rig: Rig, results: str, tmp_path: Path) -> None:
    refused = collect(rig, results, tmp_path / "o.jsonl")
    assert refused.returncode == 1
    assert results in refused.stderr
