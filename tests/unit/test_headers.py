from __future__ import annotations

import socket
import struct
from typing import Any

import pika
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.action.jobs import Outcome
from scripts.amqp.fields import Field
from scripts.worker.headers import (
    Past,
    copy_properties,
    failure_headers,
    first_routing_key,
    fit,
    read_past,
    text_tail,
    timestamp_text,
)


def _with(table: dict[str, Any] | None = None, **others: Any) -> Any:
    return pika.BasicProperties(headers=table, **others)


def _size(properties: Any) -> int:
    return sum(map(len, properties.encode()))


def _past(table: dict[str, Any] | None = None, redelivered: bool = True, queue: str = "q") -> Past:
    return read_past(_with(table), redelivered, queue)


def _died_in(queue: str) -> list[dict[str, Any]]:
    return [{"queue": queue, "reason": "expired", "count": 1}, {"queue": "earlier", "reason": "rejected"}]


def test_past() -> None:
    assert _past() == Past(0, 0, False)
    assert _past({"x-cluster-attempt": 2, "x-delivery-count": 3}) == Past(2, 3, False)
    count = Field(b"l" + struct.pack(">q", 4), 4)
    assert _past({"x-delivery-count": count, "x-cluster-alone": True}) == Past(0, 4, True)


def test_the_delivery_count_of_another_queue_counts_for_nothing() -> None:
    assert _past({"x-cluster-attempt": 2, "x-delivery-count": 3}, redelivered=False) == Past(2, 0, False)


@pytest.mark.parametrize(
    ("table", "queue"),
    [
        ({"x-cluster-reason": "exit 1"}, "q"),
        ({"x-cluster-reason": ""}, "q"),
        ({"x-cluster-reason": 5}, "q"),
        ({"x-cluster-reason": "exit 1"}, "q.failed"),
        ({"x-death": _died_in("q")}, "q"),
        ({"x-death": _died_in("q")}, "q.failed"),
    ],
)
def test_what_comes_from_the_failed_queue_begins_anew(table: dict[str, Any], queue: str) -> None:
    past = {"x-cluster-attempt": 3, "x-cluster-alone": True, "x-delivery-count": 1}
    assert _past(past | table, queue=queue) == Past(0, 1, False)


@pytest.mark.parametrize(
    "death", [None, "q", [], ["q"], [{}], _died_in("q.retry.1s"), _died_in("q.alone"), _died_in("other")]
)
def test_what_waited_for_its_next_attempt_goes_on(death: Any) -> None:
    assert _past({"x-cluster-attempt": 2, "x-death": death}) == Past(2, 0, False)


def test_nonsense_in_our_headers_counts_for_nothing() -> None:
    assert _past({"x-cluster-attempt": "two", "x-delivery-count": -1, "x-cluster-alone": "yes"}) == Past(0, 0, False)


def test_a_number_that_no_header_can_hold_is_made_smaller() -> None:
    past = _past({"x-cluster-attempt": 2**63 - 1, "x-delivery-count": 2**63 - 1})
    struct.pack(">i", past.attempts + 1)
    assert past.lost > 0


def test_a_copy_does_not_expire_unless_it_goes_back_to_where_it_came_from() -> None:
    mortal = _with(expiration="3000")
    assert copy_properties(mortal, "q", "q", {}).expiration is None
    assert copy_properties(mortal, "q", "q", {}).headers == {"x-cluster-expiration": "3000"}
    back = copy_properties(mortal, "q", "q", {}, expires=True)
    assert (back.expiration, back.headers) == ("3000", None)


def test_a_copy_leaves_out_what_the_broker_added() -> None:
    added = {"x-death": [{}], "x-delivery-count": 1, "x-first-death-queue": "q", "x-last-death-reason": "expired"}
    copy = copy_properties(_with({"mine": 1, **added}), "q", "q", {"x-cluster-attempt": 1})
    assert copy.headers == {"mine": 1, "x-cluster-attempt": 1}


def test_a_copy_without_headers_has_no_table() -> None:
    assert copy_properties(_with(), "q", "q", {"x-cluster-alone": None}).headers is None


def test_a_copy_remembers_its_first_routing_key() -> None:
    first = copy_properties(_with(), "orders.new", "q", {})
    assert first.headers == {"x-cluster-routing-key": "orders.new"}
    assert copy_properties(first, "q", "q", {}).headers == {"x-cluster-routing-key": "orders.new"}


@pytest.mark.parametrize(
    ("table", "delivered", "queue", "key"),
    [
        ({}, "q.alone", "q", "q"),
        ({"x-cluster-routing-key": "q.alone"}, "q", "q", "q"),
        ({"x-cluster-routing-key": "orders.new"}, "q.alone", "q", "orders.new"),
        ({}, "q.failed", "q.failed", "q"),
        ({}, "q.failed.alone", "q.failed", "q"),
        ({"x-cluster-reason": "exit 1"}, "q.failed", "q", "q"),
        # From an exchange of the user's own.
        ({}, "q.failed", "q", "q.failed"),
        ({"x-cluster-routing-key": 5}, "q", "q", 5),
    ],
)
def test_the_routing_key_is_never_a_queue_of_ours(table: dict[str, Any], delivered: str, queue: str, key: Any) -> None:
    assert first_routing_key(_with(table), delivered, queue) == key
    again = copy_properties(_with(table), delivered, queue, {})
    assert first_routing_key(again, queue, queue) == key


def test_a_copy_of_a_failed_message_has_its_failure_in_the_history_only() -> None:
    failed = failure_headers(Outcome("failed", "exit 1", 1, stderr=b"e", started_at=1.0), 3)
    copy = copy_properties(_with({"mine": 1, **failed}), "q", "q", {"x-cluster-attempt": 1})
    assert copy.headers == {
        "mine": 1,
        "x-cluster-attempt": 1,
        "x-cluster-history": [f"exit 1, in attempt 3, at 1970-01-01T00:00:01.000Z, on {socket.gethostname()}"],
    }
    assert read_past(copy, False, "q") == Past(1, 0, False)
    assert copy_properties(copy, "q", "q", {}).headers == copy.headers


def test_a_copy_of_what_the_broker_gave_up_has_that_in_the_history() -> None:
    copy = copy_properties(_with({"x-death": _died_in("q")}), "q", "q", {})
    assert copy.headers == {"x-cluster-history": ["expired in queue 'q'"]}


@pytest.mark.parametrize("history", ["text", 5, [1, None, b"x"], [{}]])
def test_a_history_that_others_made_is_no_trouble(history: Any) -> None:
    copy = copy_properties(_with({"x-cluster-reason": "exit 1", "x-cluster-history": history}), "q", "q", {})
    assert copy.headers == {"x-cluster-history": ["exit 1"]}


def test_the_history_stays_short() -> None:
    properties = _with({})
    for number in range(30):
        properties = copy_properties(properties, "q", "q", {"x-cluster-reason": f"{number} " + "long " * 100})
    history = copy_properties(properties, "q", "q", {}).headers["x-cluster-history"]
    assert [line.split()[0] for line in history] == [str(number) for number in range(20, 30)]
    assert max(map(len, history)) == 200


def test_none_takes_a_header_away() -> None:
    assert copy_properties(_with({"x-cluster-alone": True, "a": 1}), "q", "q", {"x-cluster-alone": None}).headers == {
        "a": 1
    }


def test_failure_headers_of_a_signal_and_of_a_verdict_line() -> None:
    killed = failure_headers(Outcome("failed", "killed", signal=9, started_at=1.0), 3)
    assert killed["x-cluster-exit"] == 137
    said = failure_headers(Outcome("rejected", "no good"), 1)
    assert said["x-cluster-exit"] is None
    assert said["x-cluster-started"] is None


@given(st.integers(0, 5000), st.integers(0, 140_000), st.integers(0, 60_000), st.text(max_size=3000))
def test_headers_are_made_to_fit(stderr: int, one: int, other: int, reason: str) -> None:
    ours = failure_headers(Outcome("failed", reason, stderr=b"\xff" * stderr), 3)
    properties = fit(copy_properties(_with({"one": "x" * one, "x-cluster-mine": "y" * other}), "q", "q", ours))
    assert _size(properties) <= 128 * 1024 - 64
    assert properties.headers["x-cluster-attempt"] == 3
    assert properties.headers["x-cluster-reason"] == reason[:1000]


@pytest.mark.parametrize(
    "table",
    [
        {"x-cluster-note": "y" * 130_800},
        {"x-cluster-stderr": 5, "x-cluster-first-published": "z" * 131_000},
        {"x-cluster-reason": "r" * 131_000, "a": "b"},
        {f"n{number}": 1 for number in range(13_000)},
    ],
)
@pytest.mark.parametrize("frame_max", [128 * 1024, 8192, 0])
def test_headers_of_our_names_that_others_made_are_made_to_fit(table: dict[str, Any], frame_max: int) -> None:
    copy = copy_properties(_with(dict(table)), "q", "q", {"x-cluster-attempt": 1, "x-cluster-alone": True})
    properties = fit(copy, frame_max)
    assert _size(properties) <= (frame_max or 128 * 1024) - 64
    assert properties.headers["x-cluster-attempt"] == 1
    assert properties.headers["x-cluster-alone"] is True


def test_what_fits_is_not_touched() -> None:
    properties = _with({"one": "x" * 130_000, "x-cluster-stderr": "e" * 100})
    assert fit(properties).headers == {"one": "x" * 130_000, "x-cluster-stderr": "e" * 100}


@given(st.binary(max_size=300), st.integers(0, 100))
def test_text_tail_is_short_text(data: bytes, most: int) -> None:
    tail = text_tail(data, most)
    assert len(tail.encode()) <= most
    assert data.decode(errors="replace").endswith(tail)


def test_timestamps() -> None:
    assert timestamp_text(1700000000.25) == "2023-11-14T22:13:20.250Z"
    assert timestamp_text(2**63) == str(2**63)
