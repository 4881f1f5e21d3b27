"""A broker's URL: what it may hold, what is never shown of it, and a broker that cannot be used."""

from __future__ import annotations

import shlex
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from cluster.operations import wait
from cluster.operations.brokers import flags_of
from scripts.amqp import broker
from scripts.errors import MessagesFailed, ServiceAway, WrongUsage
from scripts.hostport import HostPort
from scripts.worker import options
from tests.refusing import refusal
from tests.standin import wire

SECRET = "SECRET"

# As a user types them whose password has a letter that means something in a URL.
UNREADABLE = [
    f"amqp://user:pa/{SECRET}@host:5672",
    f"amqp://user:pa?{SECRET}@host:5672",
    f"amqp://user:pa#{SECRET}@host:5672",
    f"amqp://user:pa[{SECRET}@host:5672",
    f"amqp://user:pa]{SECRET}@host:5672",
    f"amqp://user:12/{SECRET}@host",
    f"amqp://user:12?{SECRET}@host",
    f"amqp://user:12#{SECRET}@host",
    f"amqp://user:p@/{SECRET}@host",
    f"amqp://user:{SECRET}",
    f"amqp://user:{SECRET}@",
    f"amqp://user:{SECRET}@[::1",
    f"amqp://user:{SECRET}@host:port",
    f"amqp://user:{SECRET}\n@host",
    f"http://user:{SECRET}@host",
    f"user:{SECRET}@host:5672",
    "amqp://[::1",
    "amqp://host:port",
]


@pytest.mark.parametrize("url", UNREADABLE)
@pytest.mark.parametrize(
    "read", [broker.parameters, broker.credentials, broker.redacted, broker.without_login, broker.address]
)
def test_nothing_is_shown_of_what_cannot_be_read(read: Callable[[str], Any], url: str) -> None:
    found = refusal(read, url)
    assert SECRET not in found
    assert "AMQP_PASSWORD_FILE" in found
    assert "%2F" in found


@pytest.mark.parametrize(
    "url", ["", "localhost", "10.0.0.10:5672", "http://host:5672/", "amqp://", "amqp://host:99999"]
)
def test_what_has_no_room_for_a_password_is_named(url: str) -> None:
    assert repr(url) in refusal(broker.parameters, url)


def test_a_password_may_be_anything_that_is_percent_encoded() -> None:
    url = "amqp://us%40er:p%2Fa%3Fs%23s%5Bw%5D%25@host/v%40h"
    assert broker.credentials(url) == ("us@er", "p/a?s#s[w]%")
    assert broker.parameters(url).virtual_host == "v@h"
    assert broker.redacted(url) == "amqp://host/v%40h"
    assert broker.address(url) == HostPort("host", 5672)


def test_an_at_sign_needs_no_encoding() -> None:
    assert broker.credentials("amqp://user:p@ss@host:5673") == ("user", "p@ss")
    assert broker.address("amqps://user:p@ss@[::1]") == HostPort("::1", 5671)


def test_the_password_of_a_key_is_not_shown_but_handed_on() -> None:
    assert broker.redacted("amqp://u:p@host?heartbeat=5") == "amqp://host?heartbeat=5"
    url = "amqps://u:p@host?ssl_options={'password':'SECRET'}"
    assert broker.redacted(url) == "amqps://host"
    assert broker.without_login(url) == "amqps://host?ssl_options={'password':'SECRET'}"


@pytest.mark.parametrize(
    "url", ["http://user:SECRET@host:15672", "http://[::1", "http://host:SECRET", "host:15672", "amqp://host"]
)
def test_a_wrong_url_of_the_management_api_is_wrong_usage(url: str) -> None:
    found = refusal(options.parse, ["-q", "q", "--management", url, "true"], by=WrongUsage)
    assert "--management" in found
    assert SECRET not in found


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("amqps://h?cacertfile=/nonexistent/ca.pem", "/nonexistent/ca.pem"),
        ("amqps://h?cacertfile=/etc/passwd", "?cacertfile=/etc/passwd"),
        ("amqps://h?certfile=/etc/passwd", "?certfile=/etc/passwd"),
        ("amqps://h?keyfile=/etc/passwd", "?certfile="),
        ("amqps://h?verify=no", "?verify=no "),
        ("amqp://h?cacertfile=/etc/passwd", "amqps://"),
        ("amqps://h?cacertfile=/etc/passwd&ssl_options={}", "?ssl_options="),
        ("amqps://h?ssl_options={", "ssl_options"),
        ("amqps://h?ssl_options=1", "ssl_options"),
        ("amqps://h?ssl_options={'ca_certs':'/nonexistent/ca.pem'}", "/nonexistent/ca.pem"),
        (f"amqp://u:{SECRET}@h?heartbeat=x", "'amqp://h?heartbeat=x'"),
        ("amqp://h?hartbeat=5", "hartbeat"),
        ("amqp://h/a/b", "%2F"),
        ("amqp://h//", "leave it out"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_by_name(url: str, named: str) -> None:
    found = refusal(broker.parameters, url, {})
    assert named in found
    assert SECRET not in found


@pytest.mark.parametrize(
    ("path", "virtual_host"), [("", "/"), ("/", "/"), ("/%2F", "/"), ("/a", "a"), ("/a%2Fb", "a/b")]
)
def test_virtual_hosts(path: str, virtual_host: str) -> None:
    assert broker.parameters(f"amqp://h{path}", {}).virtual_host == virtual_host


def test_words_of_rabbitmqs_urls() -> None:
    found = broker.parameters("amqps://h?heartbeat=7&server_name_indication=other&verify=verify_none", {})
    assert (found.heartbeat, found.ssl_options.server_hostname) == (7, "other")
    assert found.ssl_options.context.verify_mode == ssl.CERT_NONE
    assert broker.parameters("amqps://h", {}).ssl_options.context.verify_mode == ssl.CERT_REQUIRED


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_port_that_takes_connections_and_closes_them_may_be_a_broker_that_starts(answer: bytes) -> None:
    """So does the proxy of a container whose broker does not listen yet; pika tells no more of what is no broker."""
    with wire.serving(wire.saying(answer)) as place:
        assert place in refusal(broker.open_blocking, f"amqp://{place}", by=ServiceAway)


@pytest.mark.parametrize(
    ("given", "flags"),
    [
        (("slurm:me@login", "", ""), ["--at", "slurm:me@login"]),
        (("", "10.0.0.1:8080", ""), ["-m", "10.0.0.1:8080"]),
        (("", "", "amqp://me:secret@host/?a=1&b=2"), ["-u", "amqp://host/?a=1&b=2"]),
    ],
)
def test_what_is_suggested_asks_the_same_broker(given: tuple[str, str, str], flags: list[str]) -> None:
    words = refusal(wait.check, wait.Ended("q", 2, 1, 0.1), flags_of(*given), by=MessagesFailed)
    assert shlex.join(flags) in words
