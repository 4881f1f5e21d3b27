"""A change that is sent over HTTP: whether it can have arrived, when no answer comes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from threading import Event

import pytest

from scripts.errors import ServiceAway
from scripts.http_fetch import AnswerLost, Fetcher, WrongServer
from tests.refusing import refusal
from tests.standin import wire


def send(address: str, timeout_s: float = 0.5) -> int:
    return Fetcher([], "", "", timeout_s).send("PUT", f"http://{address}/", b"{}").status


def hang_up(connection: socket.socket, over: Event) -> None:
    """Takes the request, and ends the connection."""
    connection.recv(65536)


@pytest.mark.parametrize("conduct", [wire.silence, hang_up, wire.trickle, wire.trickle_headers])
def test_without_an_answer_it_may_have_arrived(conduct: wire.Conduct) -> None:
    with wire.serving(conduct) as address, pytest.raises(AnswerLost):
        send(address)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere.invalid:80"])
def test_without_a_connection_it_has_not_arrived(address: str) -> None:
    with pytest.raises(ServiceAway) as away:
        send(address, timeout_s=5)
    assert not isinstance(away.value, AnswerLost)


def test_a_redirect_is_not_followed() -> None:
    moved = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://10.0.0.1/\r\nContent-Length: 0\r\n\r\n"
    with wire.serving(wire.saying(moved)) as address:
        assert "http://10.0.0.1:80" in refusal(send, address, by=WrongServer)


def test_an_answer_is_an_answer() -> None:
    with wire.serving(wire.saying(b"HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\n{}")) as address:
        assert send(address) == 409


def test_a_question_led_elsewhere_fails_there() -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/login\r\nContent-Length: 0\r\n\r\n"
    with wire.serving(wire.saying(moved)) as address:
        found = refusal(Fetcher([], "", "", 5).get, f"http://{address}/", by=ServiceAway)
    assert found.startswith(f"http://{address}, which redirects to http://127.0.0.1:1: ")


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A proxy, as the environment names it, that lets nothing through."""
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with wire.serving(wire.saying(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")) as address:
        monkeypatch.setenv("http_proxy", f"http://me:secret@{address}")
        yield address


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_no_proxy_is_asked_for_what_is_on_this_machine(proxied: str, host: str) -> None:
    with wire.serving(wire.saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")) as address:
        answer = Fetcher([], "", "", 5).get(f"http://{host}:{address.rpartition(':')[2]}/")
    assert (answer.status, "proxy" in answer.place) == (200, False)


def test_a_proxy_on_the_way_is_told_without_its_password(proxied: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = Fetcher([], "", "", 5).get("http://nowhere.invalid/")
    assert (answer.status, "secret" in answer.place) == (503, False)
    assert answer.place.startswith(f"http://nowhere.invalid:80 through the proxy http://{proxied} ")
    assert "no_proxy=nowhere.invalid " in answer.place
    monkeypatch.setenv("http_proxy", "127.0.0.1:1")
    get = Fetcher([], "", "", 5).get
    assert "http://127.0.0.1:1 " in refusal(get, "http://nowhere.invalid/", by=ServiceAway)
    monkeypatch.setenv("no_proxy", "nowhere.invalid")
    assert "127.0.0.1" not in refusal(get, "http://nowhere.invalid/", by=ServiceAway)
