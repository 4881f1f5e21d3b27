"""What is said of a certificate, by what a real server shows; the certificates are of our own CA."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import requests

from cluster import credentials
from cluster.images import registry_login, registry_tls
from cluster.images.registry_login import Access
from cluster.registry import authority
from cluster.registry.authority import Authority, Pair
from scripts.errors import ClusterError, ServiceAway
from tests.ports import free_ports

NOW = datetime.now(UTC)


class Silent(BaseHTTPRequestHandler):
    """Answers nothing of interest."""

    def log_message(self, *_: object) -> None:
        pass


class Server(HTTPServer):
    """One that minds no client that turns away."""

    def handle_error(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    monkeypatch.setattr(credentials, "SECRETS", tmp_path / ".secrets")
    return authority.of("test", NOW - timedelta(days=800))


@pytest.fixture
def serve(tmp_path: Path) -> Callable[[Pair | None], AbstractContextManager[str]]:
    """Serves with a certificate, or without TLS; the address."""

    @contextmanager
    def serving(pair: Pair | None) -> Iterator[str]:
        server = Server(("127.0.0.1", 0), Silent)
        if pair:
            (tmp_path / "server.pem").write_bytes(pair.certificate + pair.key)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tmp_path / "server.pem")
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    return serving


def failure(registry: str, ca: Path) -> str:
    with pytest.raises(requests.exceptions.SSLError) as error:
        requests.get(f"https://{registry}/v2/", verify=str(ca), timeout=10, proxies={"https": ""})
    text = str(registry_tls.failure(registry, error.value))
    assert "\n" not in text
    assert registry in text
    return text


def test_one_that_has_ended(ca: Authority, serve: Callable[..., AbstractContextManager[str]]) -> None:
    with serve(ca.issue("127.0.0.1", NOW - timedelta(days=400))) as registry:
        assert "has ended, or a clock is wrong: `./inv registry.up --host`" in failure(registry, ca.file)
        assert registry_tls.shown(registry, 10).not_valid_after_utc < NOW


@pytest.mark.parametrize("host", ["10.0.0.5", "registry.example"])
def test_one_for_another_name(ca: Authority, serve: Callable[..., AbstractContextManager[str]], host: str) -> None:
    with serve(ca.issue(host, NOW)) as registry:
        assert "is for another name" in failure(registry, ca.file)


def test_one_of_another_ca(ca: Authority, serve: Callable[..., AbstractContextManager[str]]) -> None:
    with serve(authority.of("other", NOW).issue("127.0.0.1", NOW)) as registry:
        assert "nobody here trusts the certificate" in failure(registry, ca.file)
        registry_login.keep(registry, Access("cluster", "hidden", ca.file))
        text = failure(registry, ca.file)
    assert f"is not of our CA, {ca.file}: somebody else's registry has this address" in text
    assert "hidden" not in text


def test_a_server_without_tls(ca: Authority, serve: Callable[..., AbstractContextManager[str]]) -> None:
    with serve(None) as registry:
        assert "speaks no TLS" in failure(registry, ca.file)
        with pytest.raises(ServiceAway, match=f"nothing at {registry} answers with TLS"):
            registry_tls.shown(registry, 10)


def test_nobody_at_all() -> None:
    (port,) = free_ports(1)
    with pytest.raises(ServiceAway, match=f"nothing at 127.0.0.1:{port} answers with TLS"):
        registry_tls.shown(f"127.0.0.1:{port}", 10)


def test_a_registry_without_a_port_is_at_that_of_https() -> None:
    assert str(registry_tls.address("registry.example")) == "registry.example:443"
    assert str(registry_tls.address("[fe80::1]:5000")) == "[fe80::1]:5000"
    assert str(registry_tls.address("[fe80::1]")) == "[fe80::1]:443"
    with pytest.raises(ClusterError, match="a port is a number"):
        registry_tls.address("registry.example:70000")
