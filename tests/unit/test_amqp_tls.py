"""TLS and virtual hosts in a broker's URL."""

import ssl

import pytest

from scripts.amqp.broker import parameters
from scripts.errors import ClusterError


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("amqps://h?cacertfile=/nonexistent/ca.pem", "/nonexistent/ca.pem"),
        ("amqps://h?cacertfile=/etc/passwd", "?cacertfile=/etc/passwd"),
        ("amqps://h?certfile=/etc/passwd", "?certfile=/etc/passwd"),
        ("amqps://h?keyfile=/etc/passwd", "?certfile="),
        ("amqps://h?verify=no", "verify_peer, verify_none"),
        ("amqp://h?cacertfile=/etc/passwd", "amqps://"),
        ("amqps://h?cacertfile=/etc/passwd&ssl_options={}", "?ssl_options="),
        ("amqps://h?ssl_options={", "ssl_options"),
        ("amqps://h?ssl_options=1", "ssl_options"),
        ("amqps://h?ssl_options={'ca_certs':'/nonexistent/ca.pem'}", "/nonexistent/ca.pem"),
        ("amqp://h?heartbeat=x", "heartbeat"),
        ("amqp://h?hartbeat=5", "hartbeat"),
        ("amqp://h/a/b", "%2F"),
        ("amqp://h//", "leave it out"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_by_name(url: str, named: str) -> None:
    with pytest.raises(ClusterError) as refused:
        parameters(url, {})
    assert named in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("path", "virtual_host"), [("", "/"), ("/", "/"), ("/%2F", "/"), ("/a", "a"), ("/a%2Fb", "a/b")]
)
def test_virtual_hosts(path: str, virtual_host: str) -> None:
    assert parameters(f"amqp://h{path}", {}).virtual_host == virtual_host


def test_words_of_rabbitmqs_urls() -> None:
    found = parameters("amqps://h?heartbeat=7&server_name_indication=other&verify=verify_none", {})
    assert (found.heartbeat, found.ssl_options.server_hostname) == (7, "other")
    assert found.ssl_options.context.verify_mode == ssl.CERT_NONE
    assert parameters("amqps://h", {}).ssl_options.context.verify_mode == ssl.CERT_REQUIRED
