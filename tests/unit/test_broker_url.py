from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from scripts.amqp import broker
from scripts.errors import ClusterError
from scripts.hostport import HostPort
from scripts.worker import options

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
    "read",
    [
        broker.parameters,
        broker.credentials,
        broker.redacted,
        broker.without_login,
        broker.address,
    ],
)
def test_nothing_is_shown_of_what_cannot_be_read(read: Callable[[str], Any], url: str) -> None:
    with pytest.raises(ClusterError, match="AMQP_PASSWORD_FILE") as caught:
        read(url)
    assert SECRET not in str(caught.value)
    assert "%2F" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    "url", ["", "localhost", "10.0.0.10:5672", "http://host:5672/", "amqp://", "amqp://host:99999"]
)
def test_what_has_no_room_for_a_password_is_named(url: str) -> None:
    with pytest.raises(ClusterError, match="write it as amqp://HOST:PORT") as caught:
        broker.parameters(url)
    assert repr(url) in str(caught.value)


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
    with pytest.raises(ClusterError, match="http://HOST:15672") as caught:
        options.parse(["-q", "q", "--management", url, "true"])
    assert caught.value.exit_code == 64
    assert SECRET not in str(caught.value)
