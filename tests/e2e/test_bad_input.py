"""Bad input: one line that names the value and the next step, with its exit code, and nothing started or changed."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import own_settings
from tests.e2e.conftest import CommandLine
from tests.ports import free_ports
from tests.standin.server import Standin

NO_ENGINE = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}


@pytest.fixture
def line(tmp_path: Path) -> CommandLine:
    return CommandLine(own_settings(tmp_path, "process"))


def refused(line: CommandLine, *arguments: str, code: int = 1) -> str:
    """The one line of a command that is refused."""
    done = line.try_(*arguments)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["publish", "--body", ""], 1, ["empty"]),
        (["publish", "--file", "/nonexistent/items.txt"], 1, ["/nonexistent/items.txt", "no such file"]),
        (["publish"], 1, ["--body", "--file"]),
        (["publish", "--body", "x", "-u", "localhost"], 1, ["'localhost'", "amqp://HOST:PORT"]),
        (["publish", "--body", "x", "-u", "amqp://127.0.0.1:1"], 3, ["amqp://127.0.0.1:1", "connection refused"]),
        (["worker.run-local", "--action", "sum.py 'x"], 1, ["--action", "sum.py 'x"]),
        (["worker.run-local", "-u", "amqp://127.0.0.1:1"], 3, ["amqp://127.0.0.1:1"]),
        (["worker.run-local", "--jobs", "many"], 1, ["--jobs", "'many'"]),
        (["worker.run-local", "-q", "amq.mine"], 1, ["'amq.mine'"]),
        (["worker.scale"], 1, ["--instances"]),
        (["worker.stop", "-q", "mine"], 1, ["/worker-mine", "./inv status"]),
        (["queue.build"], 1, ["scheduler: process"]),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else str(value),
)
def test_one_line(line: CommandLine, arguments: list[str], code: int, words: list[str]) -> None:
    found = refused(line, *arguments, code=code)
    assert [word for word in words if word not in found] == []


@pytest.mark.parametrize("task", ["queue.build", "queue.run-local", "registry.up"])
def test_no_engine_is_one_line(line: CommandLine, task: str) -> None:
    line.environ |= NO_ENGINE | {"INVOKE_SCHEDULER": "local"}
    assert "unix:///nonexistent/docker.sock" in refused(line, task, code=3)


@pytest.mark.parametrize("tag", ["Amqp:v1", "amqp:v1:v2", "amqp:", "-"])
def test_a_malformed_tag_is_named(line: CommandLine, tag: str) -> None:
    line.environ |= {"INVOKE_SCHEDULER": "local"}
    assert repr(tag) in refused(line, "queue.build", f"--tag={tag}")


def test_a_bad_setting_is_named(line: CommandLine) -> None:
    line.environ |= {"INVOKE_SCHEDULER": "kubernetes"}
    assert "scheduler: 'kubernetes'" in refused(line, "status")


def test_status_of_nothing_says_how_to_begin(line: CommandLine) -> None:
    line.environ |= NO_ENGINE
    assert "./inv demo" in line("status")


def test_a_port_in_use_is_named_with_its_holder(line: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line.environ |= {"INVOKE_QUEUE_PORT": str(port), "INVOKE_QUEUE_MANAGEMENT_PORT": str(free_ports(1)[0])}
        done = line.try_("queue.run-local")
    assert done.returncode == 1
    assert f"port {port} " in done.stderr


@pytest.fixture
def marathon() -> Iterator[Standin]:
    with Standin() as standin:
        yield standin


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
    ("address", "code", "named"),
    [
        ("127.0.0.1:1", 3, "http://127.0.0.1:1"),
        ("nowhere", 1, "'nowhere'"),
        ("me:secret@10.0.0.1:8080", 1, "MARATHON_PASSWORD_FILE"),
    ],
)
def test_an_address_that_is_no_marathon_is_named(line: CommandLine, address: str, code: int, named: str) -> None:
    found = refused(line, "queue.deploy", "-m", address, "--on", "agent1", code=code)
    assert named in found
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
