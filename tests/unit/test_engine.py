"""Where an engine is looked for, what is said when there is none, and its errors in one line."""

from __future__ import annotations

import gc
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
import requests
from docker.errors import APIError, BuildError, ImageNotFound
from urllib3 import HTTPConnectionPool
from urllib3.exceptions import ProtocolError, ReadTimeoutError

from cluster import engine
from cluster.engine import debian
from cluster.engine import errors as engine_errors
from cluster.settings import ROOT
from scripts.errors import ClusterError, ServiceAway
from tests.docker_contexts import add_context
from tests.ports import free_port
from tests.refusing import refusal
from tests.web import serving

LOOKUPS = (lambda port: f"the container x-{port}", lambda: "/var/lib/docker")


def not_looked_up(*_: object) -> NoReturn:
    raise AssertionError("looked up without need")


def answered(words: str, kind: type[APIError] = APIError) -> APIError:
    return kind("500 Server Error", response=requests.Response(), explanation=words)


# The words of engines 20.10, 26.1 and 28.
PORT_WORDS = [
    "driver failed programming external connectivity on endpoint amqp-1 (8efa8fee53b2f12949e1100bd0865796): "
    "Error starting userland proxy: listen tcp4 127.0.0.1:32793: bind: address already in use",
    "driver failed programming external connectivity on endpoint amqp-1 (b29bdb7ace41e25a4acafefafcafa1de): "
    "Bind for 127.0.0.1:32793 failed: port is already allocated",
    "failed to set up container networking: driver failed programming external connectivity on endpoint amqp-1 "
    "(0c): failed to bind host port for 127.0.0.1:32793:172.17.0.2:5672/tcp: address already in use",
    "failed to bind host port [::1]:32793/tcp: address already in use",
]


@pytest.mark.parametrize("words", PORT_WORDS)
def test_a_port_in_use_is_named_with_its_holder(words: str) -> None:
    error = engine_errors.explained("start amqp", answered(words), *LOOKUPS)
    assert str(error).startswith("start amqp: port 32793 of this machine is in use by the container x-32793: ")


def test_a_full_disk_is_named_by_the_engines_folder() -> None:
    words = "Error processing tar file(exit status 1): write /usr/sbin/losetup: no space left on device"
    error = engine_errors.explained("import debian", answered(words), *LOOKUPS)
    assert "the disk is full where the Docker Engine keeps its data, /var/lib/docker" in str(error)


@pytest.mark.parametrize(
    ("error", "expected", "exit_code"),
    [
        (answered("No such image: amqp:v1", ImageNotFound), "start: No such image: amqp:v1: build it first", 1),
        (answered("two\n  lines "), "start: two lines", 1),
        (BuildError("The command '/bin/sh -c false' returned 1", iter(())), "start: The command '/bin/sh -c", 1),
        (requests.ReadTimeout("timed out"), "start: the Docker Engine did not answer in time", 3),
        (
            requests.ConnectionError(ReadTimeoutError(HTTPConnectionPool("localhost"), "/", "Read timed out.")),
            "start: the Docker Engine did not answer in time",
            3,
        ),
        (
            requests.ConnectionError(ProtocolError("Connection aborted.", ConnectionResetError(104, "reset by peer"))),
            "start: the Docker Engine went away (reset by peer)",
            3,
        ),
    ],
)
def test_other_errors_are_one_line(error: Exception, expected: str, exit_code: int) -> None:
    explained = engine_errors.explained("start", error, not_looked_up, not_looked_up)
    assert str(explained).startswith(expected)
    assert "\n" not in str(explained)
    assert explained.exit_code == exit_code


def test_docker_errors_maps_the_sdks_errors_only() -> None:
    with pytest.raises(ClusterError, match="start: some words") as caught, engine.docker_errors("start"):
        raise answered("some words")
    assert isinstance(caught.value.__cause__, APIError)
    with pytest.raises(KeyError), engine.docker_errors("start"):
        raise KeyError("a bug")


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No engine is named by the environment, and none is at the usual places."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "none"))
    monkeypatch.setattr(engine, "SOCKET", str(tmp_path / "docker.sock"))


@pytest.mark.parametrize(
    ("is_installed", "step"), [(False, "./inv demo or ./inv test as root"), (True, "sudo systemctl start docker")]
)
def test_no_engine_says_what_to_do(monkeypatch: pytest.MonkeyPatch, is_installed: bool, step: str) -> None:
    monkeypatch.setattr(debian, "has_engine", lambda: is_installed)
    with pytest.raises(engine.NoEngine) as caught:
        engine.connect()
    assert caught.value.exit_code == 3
    for words in (f"{engine.SOCKET}: ", step, "set scheduler: process in invoke.yaml"):
        assert words in str(caught.value)


def test_a_user_without_root_installs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(debian, "install_engine", not_looked_up)
    with pytest.raises(engine.NoEngine):
        engine.ensure(not_looked_up)


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("unix:///nonexistent.sock", "No such file or directory"),
        ("tcp://127.0.0.1:1", "Connection refused"),
        ("garbage", "port is required"),
        ("tcp://", "Invalid bind address"),
        ("http://127.0.0.1:99999", "Port out of range"),
    ],
)
def test_a_wrong_docker_host_is_named(monkeypatch: pytest.MonkeyPatch, host: str, why: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    found = refusal(engine.ensure, not_looked_up, by=ServiceAway)
    assert [name for name in (f" {host}, ", "DOCKER_HOST", why) if name not in found] == []


# The SDK leaves the ended ssh to the garbage collector, which complains.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_wrong_docker_host_over_ssh_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://127.0.0.1:1")
    assert "DOCKER_HOST" in refusal(engine.connect, by=ServiceAway)
    gc.collect()


def test_a_docker_host_that_is_no_engine_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda asked: (501, b"")) as port:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{port}")
        assert f"tcp://127.0.0.1:{port}" in refusal(engine.connect, by=ServiceAway)


def test_an_unknown_context_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "nosuch")
    assert "'nosuch'" in refusal(engine.connect, by=ServiceAway)


@pytest.mark.parametrize("by", ["config.json", "DOCKER_CONTEXT"])
def test_the_current_context_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    add_context(tmp_path, "far", "tcp://127.0.0.1:1")
    if by == "config.json":
        (tmp_path / "config.json").write_text(json.dumps({"currentContext": "far"}))
    else:
        monkeypatch.setenv("DOCKER_CONTEXT", "far")
    found = refusal(engine.connect, by=ServiceAway)
    assert "127.0.0.1:1" in found
    assert "'far'" in found


def test_an_engine_that_hangs_is_not_taken_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "PROBE_TIMEOUT_S", 0.2)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(engine.SOCKET)
        silent.listen()
        with pytest.raises(ServiceAway, match="fails: ") as caught:
            engine.ensure(not_looked_up)
    assert not isinstance(caught.value, engine.NoEngine)


def test_an_engine_that_lets_nobody_in_tells_of_the_group(tmp_path: Path) -> None:
    """In a process of its own, which gives root up when it has it."""
    with socket.socket(socket.AF_UNIX) as closed:
        closed.bind(engine.SOCKET)
        closed.listen()
        Path(engine.SOCKET).chmod(0)
        code = (
            "import os, sys\nfrom cluster import engine\n"
            "os.geteuid() or os.setuid(65534)\n"
            "engine.SOCKET = sys.argv[1]\n"
            "try:\n    engine.connect()\nexcept engine.NoEngine:\n    sys.exit('taken for none')\n"
            "except engine.ServiceAway as error:\n    print(error)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, engine.SOCKET], cwd=ROOT, capture_output=True, text=True, check=True
        )
    assert engine.SOCKET in done.stdout
    assert "sudo usermod -aG docker" in done.stdout


def test_systemd_starts_dockerd_where_it_runs_else_the_init_script_else_we() -> None:
    def commands(systemd: bool, service: bool) -> list[str]:
        return [" ".join(command) for command, _ in debian.starters(systemd, service)]

    assert commands(systemd=True, service=True) == ["systemctl start docker"]
    assert commands(systemd=False, service=True) == ["service docker start", "dockerd"]
    assert commands(systemd=False, service=False) == ["dockerd"]


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("", "it did not say why"),
        (
            'time="2026-01-01T00:00:00Z" level=error msg="failed to load a plugin that nobody needs"\n'
            "failed to start daemon: Error initializing network controller: iptables failed: Permission denied\n"
            " (exit status 4)\n",
            "failed to start daemon: Error initializing network controller: iptables failed: Permission denied",
        ),
        (
            'time="x" level=error msg="first"\n'
            'time="x" level=fatal msg="cannot \\"do\\" it" error="no cgroups" module=x\n'
            'time="x" level=info msg="bye"\n',
            'cannot "do" it: no cgroups',
        ),
        ('time="x" level=info msg="the last line"\n', "the last line"),
    ],
)
def test_the_reason_is_found_in_dockerds_log(log: str, reason: str) -> None:
    assert debian.why(log) == reason


def test_the_program_that_listens_is_named() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        assert engine.port_holder(port).endswith(f"(process {os.getpid()})")
    assert engine.port_holder(port) == ""
