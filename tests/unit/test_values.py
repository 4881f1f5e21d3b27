"""Small values as people write them: ids, addresses, numbers, pauses."""

import math

import pytest

from scripts.app_id import canonical_app_id
from scripts.backoff import growing_s
from scripts.hostport import HostPort
from scripts.number import MOST, number
from tests.refusing import refusal


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("amqp", "/amqp"),
        ("/amqp", "/amqp"),
        ("/amqp/", "/amqp"),
        ("//amqp", "/amqp"),
        ("group/amqp", "/group/amqp"),
        ("/a//b-2/c.d", "/a/b-2/c.d"),
        ("tasks/amqp", "/tasks/amqp"),
        ("/0", "/0"),
    ],
)
def test_slashes_do_not_count(text: str, wanted: str) -> None:
    assert canonical_app_id(text) == wanted


@pytest.mark.parametrize(
    "text",
    ["", "/", "my_queue", "AMQP", "-amqp", "amqp-", "a.", "a b", "group/*", "*", "../amqp", "a/./b", "amqp?force=true",
     "amqp#", "a%2fb", "amqp/tasks", "amqp/versions", "amqp/restart", "amqp\n", "ämqp"],
)  # fmt: skip
def test_what_is_no_id_is_named_in_one_line(text: str) -> None:
    assert repr(text) in refusal(canonical_app_id, text)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("10.0.0.10:8080", "10.0.0.10", 8080),
        ("localhost:1", "localhost", 1),
        ("my-host.example:65535", "my-host.example", 65535),
        ("[::1]:5672", "::1", 5672),
    ],
)
def test_reads_and_writes_the_same_text(text: str, host: str, port: int) -> None:
    address = HostPort.parse(text)
    assert (address.host, address.port) == (host, port)
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["", "host", "host:", ":80", "host:0", "host:65536", "host:x", "a b:1", "::1:80", "http://h:80", "h:80/x"]
)
def test_what_is_no_address_is_named_in_one_line(text: str) -> None:
    assert repr(text) in refusal(HostPort.parse, text)


def test_a_number_is_of_its_kind_and_within_its_bounds() -> None:
    assert (number(int, "7"), number(float, "7.5"), number(float, "1e3"), number(int, 7)) == (7, 7.5, 1000, 7)
    assert (number(int, "0"), number(float, str(MOST)), number(int, "3", 3, 3)) == (0, MOST, 3)
    assert type(number(int, "7")) is int


@pytest.mark.parametrize("value", ["", "many", "1.5", "1e3", "nan", None, math.inf])
def test_what_is_no_whole_number_is_none(value: object) -> None:
    assert refusal(number, int, value, by=ValueError) == "a number"


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-0.1", "1e999", "1000000001", math.nan, math.inf])
def test_what_is_beyond_the_bounds_is_refused(value: object) -> None:
    assert refusal(number, float, value, by=ValueError).endswith("from 0 to 1,000,000,000")


def test_pauses_grow_and_end_at_the_longest() -> None:
    assert [growing_s(0.1, failures, 60) for failures in range(5)] == [0, 0.1, 0.2, 0.4, 0.8]
    assert growing_s(0.1, 11, 60) == growing_s(0.1, 10**6, 60) == 60
