"""Failed messages: what is read of them, which are meant, and what they have in common."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pika import BasicProperties

from cluster.queue.failures import Failure, Groups, Ids, Selection, failure_of, record_of, text_of
from scripts.errors import ClusterError
from tests.refusing import refusal

ONE = Failure("abc-1", 17, "", "exit 3", 3, 3, "h", "", 0.5, "", [], 6, "Loading\nsorry\n\n")


def test_what_makes_no_sense_in_a_header_is_left_out() -> None:
    odd: dict[str, Any] = {
        "x-cluster-exit": "three", "x-cluster-attempt": True, "x-cluster-item": [1], "x-cluster-seconds": "soon",
        "x-cluster-history": "none", "x-cluster-stderr": b"\xff", "x-cluster-host": {"a": 1},
    }  # fmt: skip
    found = failure_of(BasicProperties(headers=odd), 5, "q.failed")
    assert (found.exit, found.attempts, found.item, found.seconds, found.history) == (None, None, None, None, [])
    assert (found.id, found.reason, found.size, found.stderr) == ("", "", 5, "\N{REPLACEMENT CHARACTER}")
    assert failure_of(BasicProperties(), 0, "q.failed").last_line == ""
    assert ONE.last_line == "sorry"


@pytest.mark.parametrize(
    ("selection", "meets"),
    [
        (Selection(takes_all=True), True),
        (Selection(ids=("abc-1", "x")), True),
        (Selection(ids=("abc",)), False),
        (Selection(items="3, 10-17"), True),
        (Selection(items="18-20"), False),
        (Selection(exit_code=3), True),
        (Selection(exit_code=4), False),
        (Selection(reason="EXIT"), True),
        (Selection(reason="exit", items="1"), False),
    ],
)
def test_a_selection_means_those_that_meet_all_of_it(selection: Selection, meets: bool) -> None:
    selection.check()
    assert selection.meets(ONE) == meets


@pytest.mark.parametrize(
    ("selection", "named"),
    [
        (Selection(), "--all"),
        (Selection(ids=("a",), takes_all=True), "--all"),
        (Selection(items="1;2"), "'1;2'"),
        (Selection(items="x"), "'x'"),
    ],
)
def test_what_is_no_selection_is_refused(selection: Selection, named: str) -> None:
    assert named in refusal(selection.check)


def test_a_beginning_stands_for_the_one_id_that_begins_so() -> None:
    ids = Ids(("abc-1", "abc-22"))
    for found in ("abc-1", "abc-12", "abc-221", "abc-221"):
        ids.see(replace(ONE, id=found))
    assert ids.whole("q") == ("abc-1", "abc-221")
    for given in ("abc", "nobody"):
        ids = Ids((given,))
        for found in ("abc-1", "abc-12"):
            ids.see(replace(ONE, id=found))
        with pytest.raises(ClusterError, match=given):
            ids.whole("q")


def test_groups_are_by_exit_code_and_reason_and_are_few() -> None:
    groups = Groups()
    for number in (1, 2, 3, 9):
        groups.add(replace(ONE, item=number))
    groups.add(replace(ONE, exit=4))
    for number in range(100):
        groups.add(replace(ONE, exit=None, reason=f"over {number} s", stderr="", item=None))
    first, *_, last = list(groups)
    assert (first.count, first.numbers(6), first.numbers(1)) == (4, "1-3, 9", "1-3, ...")
    assert (last.reason, last.count, last.numbers(6)) == ("other reasons", 52, "")
    assert len(list(groups)) == 51
    assert groups.count == 105


def test_a_body_is_text_or_base64() -> None:
    assert record_of(ONE, "grün".encode())["body"] == "grün"
    assert record_of(ONE, b"\xff")["body_base64"] == "/w=="
    assert "body" not in record_of(ONE)
    assert (text_of(b"a\tb\r\n"), text_of(b"\x1b[0m"), text_of(b"\xff")) == ("a\tb\r\n", None, None)
