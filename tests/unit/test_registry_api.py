"""Servers that are no registry, or refuse."""

from collections.abc import Iterator

import pytest

from cluster.images import registry_api
from scripts.errors import ClusterError, ServiceAway
from tests.web import serving


@pytest.fixture
def port() -> Iterator[int]:
    """A web server that is no registry; by the name localhost it asks for a login."""
    with serving(lambda asked: (401 if asked.headers["Host"].startswith("localhost") else 200, b"<html>")) as port:
        yield port


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
