"""Bad input: one line that names the value and the next step, with its exit code, and nothing started."""

from pathlib import Path

import pytest

from tests.conftest import own_settings
from tests.e2e.conftest import CommandLine
from tests.ports import free_ports

NO_ENGINE = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}


@pytest.fixture
def line(tmp_path: Path) -> CommandLine:
    return CommandLine(own_settings(tmp_path, "process"))


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
    done = line.try_(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert [word for word in words if word not in done.stderr] == []


@pytest.mark.parametrize("task", ["queue.build", "queue.run-local", "registry.up"])
def test_no_engine_is_one_line(line: CommandLine, task: str) -> None:
    line.environ |= NO_ENGINE | {"INVOKE_SCHEDULER": "local"}
    done = line.try_(task)
    assert done.returncode == 3
    assert done.stderr.startswith("error: no Docker Engine answers at unix:///nonexistent/docker.sock")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("tag", ["Amqp:v1", "amqp:v1:v2", "amqp:", "-"])
def test_a_malformed_tag_is_named(line: CommandLine, tag: str) -> None:
    line.environ |= {"INVOKE_SCHEDULER": "local"}
    done = line.try_("queue.build", f"--tag={tag}")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tag!r} is not an image name")


def test_a_bad_setting_is_named(line: CommandLine) -> None:
    line.environ |= {"INVOKE_SCHEDULER": "kubernetes"}
    done = line.try_("status")
    assert (done.returncode, done.stderr.startswith("error: scheduler: 'kubernetes'")) == (1, True)


def test_status_of_nothing_says_how_to_begin(line: CommandLine) -> None:
    line.environ |= NO_ENGINE
    assert "./inv demo" in line("status")


def test_a_port_in_use_is_named_with_its_holder(line: CommandLine) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line.environ |= {"INVOKE_QUEUE_PORT": str(port), "INVOKE_QUEUE_MANAGEMENT_PORT": str(free_ports(1)[0])}
        done = line.try_("queue.run-local")
    assert done.returncode == 1
    assert f"port {port} of this machine is in use by" in done.stderr
