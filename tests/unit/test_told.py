from __future__ import annotations

import json
from typing import Any

import pika
from hypothesis import given
from hypothesis import strategies as st

from scripts.amqp.fields import Field
from scripts.worker.told import metadata, variables


def _with(table: dict[str, Any] | None = None, **others: Any) -> Any:
    return pika.BasicProperties(headers=table, **others)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.text(), _JSON, max_size=5), st.text() | st.binary())
def test_any_headers_can_be_given_to_an_action(table: dict[str, Any], content_type: Any) -> None:
    facts = ("q", 1, False, "q", "id", _with(table, content_type=content_type))
    for name, value in variables(*facts).items():
        assert name.isascii()
        assert "\0" not in value
        value.encode(errors="surrogateescape")
    json.loads(json.dumps(metadata(*facts)))


def test_what_is_too_long_for_a_variable_is_left_out() -> None:
    table = {"long": "€" * 40_000, "short": "€" * 30_000}
    told = variables("q", 1, False, "q", "id", _with(table))
    assert "AMQP_HEADER_SHORT" in told
    assert "AMQP_HEADER_LONG" not in told


def test_metadata_keeps_types() -> None:
    told = metadata("q", 2, True, "key", "id", _with({"n": 1, "f": Field(b"", 1.5)}, timestamp=5, content_type="a/b"))
    assert told == {
        "queue": "q", "message_id": "id", "attempt": 2, "redelivered": True, "routing_key": "key",
        "content_type": "a/b", "timestamp": 5, "headers": {"n": 1, "f": 1.5},
    }  # fmt: skip
