from __future__ import annotations

import json
from itertools import permutations
from typing import Any

import pika
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.amqp.fields import Field
from scripts.worker.deliveries import Run
from scripts.worker.headers import copy_properties
from scripts.worker.metadata import job, metadata, variables


def _with(table: dict[str, Any] | None = None, **others: Any) -> Any:
    return pika.BasicProperties(headers=table, **others)


def _run(
    properties: Any, attempt: int = 1, redelivered: bool = False, routing_key: str = "q", body: bytes = b""
) -> Run:
    link: Any = None
    properties.message_id = "id"
    return Run(link, 1, redelivered, routing_key, properties, body, attempt)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.text(), _JSON, max_size=5), st.text() | st.binary())
def test_any_headers_can_be_given_to_an_action(table: dict[str, Any], content_type: Any) -> None:
    run = _run(_with(table, content_type=content_type))
    for name, value in variables("q", run).items():
        assert name.isascii()
        assert "\0" not in value
        value.encode(errors="surrogateescape")
    json.loads(json.dumps(metadata("q", run)))


def test_what_is_too_long_for_a_variable_is_left_out() -> None:
    table = {"long": "€" * 40_000, "short": "€" * 30_000}
    told = variables("q", _run(_with(table)))
    assert "AMQP_HEADER_SHORT" in told
    assert "AMQP_HEADER_LONG" not in told


def test_metadata_keeps_types() -> None:
    told = metadata("q", _run(_with({"n": 1, "f": Field(b"", 1.5)}, timestamp=5, content_type="a/b"), 2, True, "key"))
    assert told == {
        "queue": "q", "message_id": "id", "item": None, "attempt": 2, "redelivered": True, "routing_key": "key",
        "content_type": "a/b", "content_encoding": None, "delivery_mode": None, "priority": None,
        "correlation_id": None, "reply_to": None, "expiration": None, "timestamp": 5, "type": None, "user_id": None,
        "app_id": None,
        "headers": {"n": 1, "f": 1.5},
    }  # fmt: skip


def test_what_a_copy_has_in_headers_is_told_as_a_property() -> None:
    copy = copy_properties(_with(user_id="me", expiration="5000"), "q", "q", {})
    assert (copy.user_id, copy.expiration) == (None, None)
    told = variables("q", _run(copy))
    assert (told["AMQP_USER_ID"], told["AMQP_EXPIRATION"]) == ("me", "5000")
    back = _with({"x-cluster-user-id": "somebody"}, user_id="me")
    assert metadata("q", _run(back))["user_id"] == "me"


def test_of_headers_that_share_a_variable_it_has_the_first_by_name_in_whatever_order_they_come() -> None:
    table = {"a_b": 1, "a-b": 2, "A B": 3}
    for order in permutations(table):
        told = variables("q", _run(_with({name: table[name] for name in order})))
        assert told["AMQP_HEADER_A_B"] == "3"
    assert metadata("q", _run(_with(dict(table))))["headers"] == table


def test_a_flood_of_shared_variables_does_not_flood_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    for number in range(100):
        variables("q", _run(_with({f"x{number}-\n": 1, f"x{number}_\n": 2})))
    lines = capfd.readouterr().err.splitlines()
    assert 0 < len(lines) <= 20
    assert all(line.startswith("cluster_worker: headers ") for line in lines)


def test_an_items_number_is_told() -> None:
    numbered = _run(_with({"x-cluster-item": Field(b"", 7)}))
    assert (variables("q", numbered)["AMQP_ITEM"], metadata("q", numbered)["item"]) == ("7", 7)
    for other in ("7", True, 1.5, None, [7]):
        told = _run(_with({"x-cluster-item": other}))
        assert "AMQP_ITEM" not in variables("q", told)
        assert metadata("q", told)["item"] is None


def test_an_item_of_a_run_fills_placeholders() -> None:
    columns = {"alpha": "grün", "2": b"\xff\xfe", "raw": Field(b"", b"\xff"), "": "x", "#": "x"}
    table = {"x-cluster-run": "0a1b2c3d", "x-cluster-item": 3, "x-cluster-columns": columns}
    made = job("q", _run(_with(table), body=b"a\xff\n\n"), 100)
    assert made.result_limit == 100
    assert made.values == {"": b"a\xff\n", "#": b"3", "alpha": "grün".encode(), "2": b"\xff\xfe", "raw": b"\xff"}
    del table["x-cluster-run"]
    assert job("q", _run(_with(table)), None).values is None


@given(st.dictionaries(st.sampled_from(["x-cluster-run", "x-cluster-item", "x-cluster-columns"]), _JSON))
def test_no_headers_keep_a_message_from_its_action(table: dict[str, Any]) -> None:
    values = job("q", _run(_with(table), body=b"x"), None).values
    assert values is None or values[""] == b"x"
    assert all(isinstance(value, bytes) for value in (values or {}).values())
