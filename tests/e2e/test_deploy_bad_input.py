"""Bad input on the way to a cluster: one line that names the value and the next step, and nothing changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import own_settings
from tests.e2e.conftest import CommandLine
from tests.standin.server import Standin


@pytest.fixture
def line(tmp_path: Path) -> CommandLine:
    return CommandLine(own_settings(tmp_path, "process"))


@pytest.fixture
def marathon() -> Iterator[Standin]:
    with Standin() as standin:
        yield standin


def refused(line: CommandLine, *arguments: str, code: int = 1) -> str:
    """The one line of a command that is refused."""
    done = line.try_(*arguments)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def changes(marathon: Standin) -> list[str]:
    return [request.method for request in marathon.requests if request.method != "GET"]


def test_marathon_has_to_be_named(line: CommandLine) -> None:
    line.environ["INVOKE_SCHEDULER"] = "local"
    assert "-m HOST:PORT" in refused(line, "worker.deploy")


def test_flags_that_say_two_things_or_what_an_engine_has_not_are_named(line: CommandLine, marathon: Standin) -> None:
    words = refused(line, "queue.deploy", "--at", "local", "-m", marathon.address)
    assert f"--at local and -m {marathon.address}" in words
    assert "--at marathon:" in refused(line, "worker.run-local", "--at", f"marathon:{marathon.address}")
    assert "--on agent1: " in refused(line, "queue.deploy", "--at", "process", "--on", "agent1")
    assert "--constraint hostname:UNIQUE" in refused(
        line, "worker.deploy", "--at", "process", "--constraint", "hostname:UNIQUE"
    )
    assert "--engine-option partition: process" in refused(line, "queue.run-local", "--engine-option", "partition=x")
    assert "--instances is missing" in refused(line, "worker.scale", "-m", marathon.address)
    assert changes(marathon) == []


@pytest.mark.parametrize(
    ("address", "code", "words"),
    [
        ("127.0.0.1:1", 3, "Marathon cannot be reached: http://127.0.0.1:1: connection refused"),
        ("nowhere", 1, "'nowhere' is not an address"),
        ("me:secret@10.0.0.1:8080", 1, "set MARATHON_USER and MARATHON_PASSWORD_FILE instead"),
    ],
)
def test_an_address_that_is_no_marathon_is_named(line: CommandLine, address: str, code: int, words: str) -> None:
    found = refused(line, "queue.deploy", "-m", address, "--on", "agent1", code=code)
    assert words in found
    assert "secret" not in found


def test_the_address_of_invoke_yaml_is_taken(line: CommandLine, marathon: Standin) -> None:
    line.environ["INVOKE_MARATHON"] = marathon.address
    assert "--on is missing" in refused(line, "queue.deploy")
    line.environ["INVOKE_SCHEDULER"] = "marathon"
    assert f"on Marathon at {marathon.address}" in line("status")


def test_a_registry_on_this_machine_is_found_before_anything_is_changed(line: CommandLine, marathon: Standin) -> None:
    words = refused(line, "worker.deploy", "-m", marathon.address, "-t", "worker:v1")
    assert line.settings.registry in words
    assert "./inv registry.up --host HOST" in words
    assert changes(marathon) == []


def test_what_does_not_run_there_is_named(line: CommandLine, marathon: Standin) -> None:
    for task in (["worker.scale", "--instances", "2"], ["worker.stop"], ["worker.rollback"]):
        words = refused(line, *task, "-q", "My_Queue", "-m", marathon.address)
        assert f"/worker-my-queue does not run on Marathon at {marathon.address}" in words
    assert changes(marathon) == []
