"""What runs is asked of the engine's socket, which may be no engine's, or lose a container meanwhile."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from urllib.parse import parse_qs, urlsplit

import pytest

from cluster.engine.unix_socket import EngineSocket, NoAnswer

LABELS = {"label": ["cluster.project=mine"]}
Answer = Callable[[str], tuple[int, bytes]]


@contextmanager
def engine(path: Path, answer: Answer) -> Iterator[EngineSocket]:
    """An engine that answers at a socket, one connection for several questions as HTTP/1.1 has it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, content = answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingUnixStreamServer):
        daemon_threads = True

    with Server(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield EngineSocket(str(path), 5)
        finally:
            server.shutdown()
            thread.join()


def answers(path: str) -> tuple[int, bytes]:
    """An engine with the containers `here` and `gone`, the second of which is removed after the list."""
    found = {
        "/version": {"ApiVersion": "1.41"},
        "/v1.41/containers/json": [{"Id": "gone"}, {"Id": "here"}],
        "/v1.41/containers/here/json": {"Id": "here", "Name": "/x"},
        "/v1.41/containers/here/exec": {"Id": "run"},
        "/v1.41/containers/here/top": {"Titles": ["PID", "COMMAND"], "Processes": [["7", "draining"]]},
        "/v1.41/exec/run/start": {},
        "/v1.41/exec/run/json": {"Running": False, "ExitCode": 3},
    }.get(urlsplit(path).path)
    return (404, b'{"message": "No such container"}') if found is None else (200, json.dumps(found).encode())


def test_containers_that_are_there_are_described(tmp_path: Path) -> None:
    asked: list[str] = []

    def noted(path: str) -> tuple[int, bytes]:
        asked.append(path)
        return answers(path)

    with engine(tmp_path / "socket", noted) as found:
        assert found.containers(LABELS) == [{"Id": "here", "Name": "/x"}]
    query = parse_qs(urlsplit(asked[1]).query)
    assert (query["all"], json.loads(query["filters"][0])) == (["true"], LABELS)


@pytest.mark.parametrize("answer", [(500, b"[]"), (200, b"no JSON")])
def test_what_is_no_engines_answer_is_none(tmp_path: Path, answer: tuple[int, bytes]) -> None:
    with (
        engine(tmp_path / "socket", lambda path: answer if "containers" in path else answers(path)) as found,
        pytest.raises(NoAnswer),
    ):
        found.containers(LABELS)


def test_a_socket_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "socket"))
        silent.listen()
        with pytest.raises(NoAnswer):
            EngineSocket(str(tmp_path / "socket"), 0.1)
    with pytest.raises(NoAnswer):
        EngineSocket(str(tmp_path / "nowhere"), 0.1)


def test_the_processes_of_a_container_are_told(tmp_path: Path) -> None:
    with engine(tmp_path / "socket", answers) as found:
        assert found.processes("here", "-o pid,comm") == [["7", "draining"]]
        assert found.processes("gone", "-o pid,comm") == []


def test_a_command_in_a_container_has_an_exit_code(tmp_path: Path) -> None:
    runs = [b'{"Running": false, "ExitCode": null}', b'{"Running": true, "ExitCode": null}']

    def slow(path: str) -> tuple[int, bytes]:
        return (200, runs.pop()) if path.endswith("run/json") and runs else answers(path)

    with engine(tmp_path / "socket", slow) as found:
        assert found.exit_code("here", "exit 3", 5) == 3
        assert runs == []
        assert found.exit_code("gone", "true", 0.05) is None


def test_a_command_that_does_not_end_has_none(tmp_path: Path) -> None:
    running = (200, b'{"Running": true, "ExitCode": null}')
    with engine(tmp_path / "socket", lambda path: running if path.endswith("run/json") else answers(path)) as found:
        assert found.exit_code("here", "sleep 9", 0.05) is None
