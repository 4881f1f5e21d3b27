"""From nothing to work being done, by the commands of the README."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from cluster.settings import ROOT
from tests.e2e.conftest import CommandLine
from tests.waiting import until


@pytest.fixture(scope="module")
def results(inv: CommandLine) -> Path:
    """A running queue and two workers; the folder where the action leaves a file for each message."""
    if inv.settings.scheduler == "local":
        assert inv("queue.build", "-t", "amqp:e2e").strip() == f"{inv.settings.registry}/amqp:e2e"
        assert inv("worker.build", "-t", "worker:e2e").strip() == f"{inv.settings.registry}/worker:e2e"
    project = inv.settings.project
    assert inv("queue.run-local", "-t", "amqp:e2e").split() == [f"{project}-amqp-1"]
    folder = Path(inv.settings.worker.tmp)
    seen = folder if inv.settings.scheduler == "process" else Path("/tmp")
    names = inv(
        "worker.run-local", "-t", "worker:e2e", "-q", "myqueue", "--action", f"wordcount.sh {seen}/out",
        "--instances", "2",
    ).split()  # fmt: skip
    assert names == [f"{project}-worker-myqueue-1", f"{project}-worker-myqueue-2"]
    return folder / "out"


def words(results: Path) -> set[str]:
    """The words that were counted so far."""
    return {line.split("\t")[0] for path in results.glob("*.tsv") for line in path.read_text().splitlines()}


def test_a_published_body_becomes_a_result(inv: CommandLine, results: Path) -> None:
    inv("publish", "--body", "published by inv")
    until(lambda: words(results) == {"published", "by", "inv"}, "the result")


def test_a_message_of_amqp_publish_right_after_the_start_is_not_lost(inv: CommandLine, results: Path) -> None:
    if not shutil.which("amqp-publish"):
        pytest.skip("amqp-publish is not here (Debian's amqp-tools)")
    url = f"amqp://localhost:{inv.settings.queue.port}"
    subprocess.run(["amqp-publish", "-u", url, "-r", "myqueue", "-b", "elsewhere"], check=True, timeout=30)
    until(lambda: "elsewhere" in words(results), "the result")


def test_a_file_is_a_message_a_line(inv: CommandLine, results: Path, tmp_path: Path) -> None:
    before = len(list(results.glob("*.tsv")))
    (tmp_path / "items.txt").write_text("one\ntwo\n")
    inv("publish", "--file", str(tmp_path / "items.txt"))
    inv("publish", "--file", "-", stdin="three\nfour\n")
    until(lambda: words(results) >= {"one", "two", "three", "four"}, "four results")
    assert len(list(results.glob("*.tsv"))) == before + 4


def test_a_message_that_fails_for_good_stands_in_the_failed_queue(inv: CommandLine, results: Path) -> None:
    inv("publish", "--body", "1 2 3")

    def failed() -> int:
        queues = json.loads(inv("status", "--json"))["queues"]
        return sum(queue["ready"] or 0 for queue in queues if queue["name"] == "myqueue.failed")

    until(lambda: failed() == 1, "the failed queue")
    assert "there is no word in it" in inv("worker.logs", "-q", "myqueue")


def test_status_shows_what_runs(inv: CommandLine, results: Path) -> None:
    shown = inv("status")
    rows = {line.split()[0]: line.split() for line in shown.splitlines() if line.startswith("/")}
    assert (rows["/amqp"][2], rows["/worker-myqueue"][2:4]) == ("1/1", ["2/2", "worker:e2e"])
    apps = {app["id"]: len(app["instances"]) for app in json.loads(inv("status", "--json"))["apps"]}
    assert (apps["/amqp"], apps["/worker-myqueue"]) == (1, 2)


def test_another_queue_must_exist(inv: CommandLine, results: Path) -> None:
    done = inv.try_("publish", "-q", "mistyped", "--body", "x")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "mistyped" in done.stderr
    assert "--create" in done.stderr


def test_doing_it_again_changes_nothing(inv: CommandLine, results: Path) -> None:
    before = json.loads(inv("status", "--json"))["apps"]
    inv("queue.run-local", "-t", "amqp:e2e")
    assert json.loads(inv("status", "--json"))["apps"] == before


def test_workers_go_on_when_others_could_not_start_their_action(inv: CommandLine, results: Path) -> None:
    before = json.loads(inv("status", "--json"))["apps"]
    done = inv.try_("worker.run-local", "-t", "worker:e2e", "-q", "myqueue", "--action", "mistyped.r")
    assert done.returncode == 1
    error = done.stderr.splitlines()[-1]
    assert error.startswith("error: --action 'mistyped.r'")
    assert error.endswith("; the workers that run go on")
    assert json.loads(inv("status", "--json"))["apps"] == before


def test_processes_take_an_action_by_its_path_from_here(inv: CommandLine, results: Path, tmp_path: Path) -> None:
    if inv.settings.scheduler != "process":
        pytest.skip("in a container an action is a file of its image")
    action = tmp_path / "own.sh"
    action.write_text(f"#!/bin/sh\ncat >{tmp_path}/out\n")
    action.chmod(0o755)
    inv("worker.run-local", "-q", "own", "--action", os.path.relpath(action, ROOT))
    inv("publish", "-q", "own", "--body", "by its path")
    until(lambda: (tmp_path / "out").exists() and (tmp_path / "out").read_text() == "by its path", "the result")
    inv("worker.stop", "-q", "own")


def test_scale_and_stop(inv: CommandLine, results: Path) -> None:
    spare = "/worker-spare"
    inv("worker.run-local", "-t", "worker:e2e", "-q", "spare", "--action", "wordcount.sh", "--instances", "2")
    inv("worker.scale", "-q", "spare", "--instances", "1")
    assert [line.split()[2] for line in inv("status").splitlines() if line.startswith(spare)] == ["1/1"]
    inv("worker.stop", "-q", "spare")
    assert spare not in inv("status")
    again = inv.try_("worker.stop", "-q", "spare")
    assert again.returncode == 1
    assert "/worker-spare does not run" in again.stderr
