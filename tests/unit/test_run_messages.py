"""The messages of a run: properties encoded in pieces are those that pika makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pika import BasicProperties

from cluster.queue.publishing.items import Item, Position
from cluster.queue.runs.items import Items, chosen_items
from cluster.queue.runs.messages import ItemProperties, read_result, record_of


def items_of(tmp_path: Path, text: bytes, action: str = "cat", **flags: Any) -> Items:
    path = tmp_path / "items.csv"
    path.write_bytes(text)
    usual: dict[str, Any] = {
        "contents": False, "null": False, "skip_empty": False, "colsep": None, "header_row": False,
        "spool": tmp_path / "spool", "say": print,
    }  # fmt: skip
    return chosen_items(str(path), "", action=action.split(), **usual | flags)


def published(items: Items) -> list[Item]:
    found = items.start(Position())
    return [Item(body, offset, end, number, after, place + 1) for body, offset, _, number, place, end, after in found]


def decoded(properties: Any) -> BasicProperties:
    read = BasicProperties()
    read.decode(b"".join(properties.encode()))
    return read


@pytest.mark.parametrize("action", ["cat", "cat {a}"])
def test_an_items_message_says_which_it_is_and_where_its_result_goes(tmp_path: Path, action: str) -> None:
    items = items_of(tmp_path, b"a,b\n1,2\n3,4\n", action, header_row=True)
    make = ItemProperties("0123abcd", "q.results.0123abcd", items)
    first, second = (decoded(make(item)) for item in published(items))
    assert (first.reply_to, first.delivery_mode) == ("q.results.0123abcd", 2)
    assert (first.message_id, second.message_id) == ("0123abcd-2", "0123abcd-3")
    assert first.headers["x-cluster-item"] == 2
    assert second.headers["x-cluster-run"] == "0123abcd"
    columns = second.headers.get("x-cluster-columns")
    assert columns == ({"a": "3"} if "{a}" in action else None)


def test_what_comes_back_is_the_record_of_its_item(tmp_path: Path) -> None:
    items = items_of(tmp_path, b"one\ntwo\n")
    make = ItemProperties("0123abcd", "q.results.0123abcd", items)
    (_, second) = published(items)
    headers = {"x-cluster-exit": 3, "x-cluster-reason": "exit 3", "x-cluster-attempt": 2, "x-cluster-seconds": "0.500"}
    reply = BasicProperties(correlation_id=decoded(make(second)).correlation_id, headers=headers)
    record = read_result(reply, b"out", items, "0123abcd")
    assert record
    assert (record.number, record.place, record.input, record.result) == (2, 1, b"two", b"out")
    assert (record.exit, record.reason, record.attempts, record.seconds) == (3, "exit 3", 2, 0.5)


def changed(text: str, **parts: int) -> str:
    """A correlation id of which some numbers are others."""
    names = ("number", "place", "offset", "length")
    *numbers, checksum = text.split(".")
    return ".".join([*(str(parts.get(name, number)) for name, number in zip(names, numbers, strict=True)), checksum])


@pytest.mark.parametrize(
    "of",
    [
        lambda _: None,
        lambda _: "",
        lambda _: "1",
        lambda _: b"\xff.0.0.3.0",
        lambda _: "1.0.0.3",
        lambda text: text.rpartition(".")[0],
        lambda text: changed(text, number=1),
        lambda text: changed(text, number=10),
        lambda text: changed(text, place=0),
        lambda text: changed(text, offset=5),
        lambda text: changed(text, offset=10**12),
        lambda text: changed(text, offset=2**70),
        lambda text: changed(text, offset=-1),
        lambda text: changed(text, length=10**15),
        lambda text: changed(text, length=2),
    ],
)
def test_another_message_is_no_result(tmp_path: Path, of: Callable[[str], Any]) -> None:
    items = items_of(tmp_path, b"one\ntwo\n")
    second = published(items)[1]
    text = decoded(ItemProperties("0123abcd", "q.results.0123abcd", items)(second)).correlation_id
    assert read_result(BasicProperties(correlation_id=text), b"", items, "0123abcd")
    assert read_result(BasicProperties(correlation_id=of(text)), b"", items, "0123abcd") is None
    assert read_result(BasicProperties(correlation_id=text), b"", items, "0123abce") is None


@pytest.mark.parametrize("value", [True, False, -1, 256, 2**63 - 1, 1.5, "1", b"\xff", None, [1], {"x": 1}])
def test_what_makes_no_sense_counts_as_not_said(value: Any) -> None:
    for reason, exit_code in (("", 0), ("killed", None)):
        said = {"x-cluster-exit": value, "x-cluster-reason": reason}
        assert record_of(BasicProperties(headers=said), b"", 1, b"").exit is exit_code
    attempts = record_of(BasicProperties(headers={"x-cluster-attempt": value}), b"", 1, b"").attempts
    assert (type(attempts), attempts) == (int, value if type(value) is int and value > 0 else 1)


@pytest.mark.parametrize("value", ["-1.000", "nan", "inf", "-inf", "1e999", "x", "", b"\xff", True, 7, None, ["1"]])
def test_a_time_that_cannot_be_is_none(value: Any) -> None:
    assert record_of(BasicProperties(headers={"x-cluster-seconds": value}), b"", 1, b"").seconds == 0.0
