"""Results: where they go, and their properties on the wire."""

from __future__ import annotations

from typing import Any

import pika
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.action.jobs import Outcome
from scripts.amqp.fields import Field
from scripts.worker.deliveries import Run
from scripts.worker.results import MOST_BYTES, ResultProperties, map_run, queue_for, result_properties


def _run(**properties: Any) -> Run:
    nothing: Any = None
    return Run(nothing, 1, False, "q", pika.BasicProperties(**properties), b"")


@pytest.mark.parametrize(
    ("reply_to", "queue"), [("r", "r"), (None, "own"), ("", "own"), (b"\xff", "own"), ("amq.rabbitmq.reply-to.x",) * 2]
)
def test_the_queue_is_the_sender_s_or_else_the_worker_s_own(reply_to: Any, queue: str) -> None:
    assert queue_for(pika.BasicProperties(reply_to=reply_to), "own") == queue


def test_a_run_has_a_text_for_its_id() -> None:
    assert map_run(pika.BasicProperties(headers={"x-cluster-run": "0123abcd"})) == "0123abcd"
    assert map_run(pika.BasicProperties(headers={"x-cluster-run": 5})) == map_run(pika.BasicProperties()) == ""


def test_a_signal_and_the_lack_of_an_exit_code() -> None:
    def code(outcome: Outcome) -> Any:
        failed = outcome.verdict != "done"
        return result_properties(_run(), outcome, failed).headers.get("x-cluster-exit")

    assert code(Outcome("failed", "killed", signal=9)) == 128 + 9
    assert code(Outcome("done")) == 0
    assert code(Outcome("failed", "reject")) is None


def test_without_a_correlation_id_it_is_known_by_the_message_s() -> None:
    done = Outcome("done")
    assert result_properties(_run(message_id="m", correlation_id="c"), done, False).correlation_id == "c"
    assert result_properties(_run(message_id="m"), done, False).correlation_id == "m"


def test_what_anybody_may_have_written_makes_no_large_result() -> None:
    headers = {"x-cluster-run": "x" * 100_000, "x-cluster-item": Field(b"S" + b"x" * 100_000, b"")}
    worst = Outcome("failed", "\U0001f600" * 100_000, stderr=b"\xff" * 100_000)
    properties = result_properties(_run(headers=headers, correlation_id="c" * 255), worst, True)
    assert sum(map(len, properties.encode())) < MOST_BYTES


_VALUES = st.one_of(st.none(), st.text(), st.integers(-(2**63), 2**63 - 1), st.booleans(), st.binary())


@given(st.text(max_size=60), st.dictionaries(st.sampled_from(["x-cluster-a", "x-cluster-b", "c"]), _VALUES))
def test_it_is_encoded_as_pika_does_it(known_by: str, table: dict[str, Any]) -> None:
    ours = ResultProperties(known_by, table)
    theirs = pika.BasicProperties(headers=ours.headers, delivery_mode=2, correlation_id=known_by)
    assert b"".join(ours.encode()) == b"".join(theirs.encode())
