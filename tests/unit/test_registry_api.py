"""Servers that are no registry, or refuse."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from cluster.images import registry_api
from scripts.errors import ClusterError, ServiceAway


class Other(BaseHTTPRequestHandler):
    """A web server that is no registry; under a closed one's name it asks for a login."""

    def do_GET(self) -> None:
        login = self.headers["Host"].startswith("localhost")
        self.send_response(401 if login else 200)
        self.end_headers()
        self.wfile.write(b"<html>hello</html>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Other)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_web_server_is_no_registry(port: int) -> None:
    assert not registry_api.answers(f"127.0.0.1:{port}")
    with pytest.raises(ClusterError, match=f"127.0.0.1:{port} is no registry"):
        registry_api.stored(f"127.0.0.1:{port}")


def test_a_registry_that_asks_for_a_login_is_not_called_away(port: int) -> None:
    with pytest.raises(ClusterError, match="asks for a login"):
        registry_api.stored(f"localhost:{port}")


def test_nobody_is_asked_through_a_proxy_on_this_machine(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(ClusterError, match="is no registry"):
        registry_api.stored(f"127.0.0.1:{port}")


def test_silence_is_a_service_that_is_away() -> None:
    with pytest.raises(ServiceAway, match=r"127.0.0.1:1: start it with `./inv registry.up`"):
        registry_api.stored("127.0.0.1:1")
    assert not registry_api.answers("127.0.0.1:1")
