"""Cutting an input into bodies: any bytes, any chunk boundaries, nothing added and nothing lost."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.queue.publishing import items as module
from cluster.queue.publishing.items import Item, Position, Split, items, scan
from scripts.errors import ClusterError
from tests.refusing import refusal

LINES = Split()
RECORDS = Split(separator=b"\0")
splits = st.builds(Split, st.sampled_from([b"\n", b"\0"]), st.integers(1, 4), st.booleans(), st.booleans())
# Much that looks like separators, and everything else.
data = st.lists(st.sampled_from([b"\n", b"\0", b"\r\n", b"a", b"\xff\xfe", "ä".encode()]) | st.binary(max_size=9)).map(
    b"".join
)


def chunks_of(text: bytes, size: int = 7) -> Iterator[bytes]:
    return (text[at : at + size] for at in range(0, len(text), size))


def cut(text: bytes, split: Split = LINES, size: int = 7, at: Position = Position()) -> list[Item]:  # noqa: B008
    found = items(chunks_of(text[at.offset :], size), split, "in", at)
    return [item for item in found if item is not None]


@given(data, splits, st.integers(1, 20))
def test_bodies_joined_back_are_the_input_without_its_empty_pieces(text: bytes, split: Split, size: int) -> None:
    split = Split(split.separator, split.per_message, skip_empty=True)
    pieces = [piece for piece in text.split(split.separator) if piece]
    assert split.separator.join(item.body for item in cut(text, split, size)) == split.separator.join(pieces)


@given(data, st.sampled_from([b"\n", b"\0"]), st.integers(1, 20))
def test_every_piece_is_a_body_byte_for_byte(text: bytes, separator: bytes, size: int) -> None:
    pieces = text.removesuffix(separator).split(separator) if text else []
    if b"" in pieces:
        assert f" {pieces.index(b'') + 1} " in refusal(cut, text, Split(separator), size)
    else:
        assert [item.body for item in cut(text, Split(separator), size)] == pieces


@given(data, splits, st.integers(1, 20), st.integers(1, 20))
def test_chunk_boundaries_make_no_difference(text: bytes, split: Split, one: int, other: int) -> None:
    split = replace(split, skip_empty=True)
    assert cut(text, split, one) == cut(text, split, other)


@given(data, splits, st.data())
def test_going_on_from_an_item_gives_the_same_items(text: bytes, split: Split, choose: st.DataObject) -> None:
    split = replace(split, skip_empty=True)
    whole = cut(text, split)
    if whole:
        place = choose.draw(st.integers(0, len(whole) - 1))
        item = whole[place]
        assert cut(text, split, at=Position(item.offset, item.line, item.number)) == whole[place:]


@given(data, splits)
def test_items_stand_one_after_the_other(text: bytes, split: Split) -> None:
    split = replace(split, skip_empty=True)
    found = cut(text, split)
    assert [item.number for item in found] == list(range(1, len(found) + 1))
    for item, following in pairwise(found):
        assert item.offset < item.end <= following.offset
        assert item.line < item.next_line <= following.line
    for item in found:
        assert text[: item.offset].count(split.separator) == item.line - 1
        assert text[item.offset : item.end].startswith(item.body) or split.per_message > 1
        assert item.file == ""


@given(data, splits)
def test_a_scan_finds_what_sending_would(text: bytes, split: Split) -> None:
    def sent() -> tuple[int, int, int]:
        found = [(len(item.body), item.line) for item in cut(text, split)]
        return len(found), *max(found, key=lambda seen: seen[0], default=(0, 0))

    def outcome(reading: Callable[[], tuple[int, int, int]]) -> tuple[int, int, int] | str:
        try:
            return reading()
        except ClusterError as error:
            return str(error)

    assert outcome(lambda: scan(chunks_of(text), split, "in")) == outcome(sent)


def test_only_the_newline_goes() -> None:
    found = cut(b"dos\r\n  spaces \n\ttab\nno end")
    assert [item.body for item in found] == [b"dos\r", b"  spaces ", b"\ttab", b"no end"]


@given(data, st.integers(1, 20), st.integers(1, 3))
def test_a_cr_may_belong_to_the_end_of_a_line(text: bytes, size: int, per_message: int) -> None:
    found = cut(text, Split(per_message=per_message, skip_empty=True, takes_crlf=True), size)
    lines = [line.removesuffix(b"\r") for line in text.split(b"\n")]
    assert b"\n".join(item.body for item in found) == b"\n".join(filter(None, lines))
    for item in found:
        assert text[: item.offset].count(b"\n") == item.line - 1
        assert text[item.offset :].startswith(item.body) or per_message > 1


def test_records_keep_their_newlines() -> None:
    assert [item.body for item in cut(b"a\nb\0c\n\0", RECORDS)] == [b"a\nb", b"c\n"]


def test_several_lines_make_a_message_and_the_rest_makes_the_last() -> None:
    found = cut(b"1\n2\n3\n4\n5\n", Split(per_message=2))
    assert [(item.body, item.line) for item in found] == [(b"1\n2", 1), (b"3\n4", 3), (b"5", 5)]


def test_nothing_makes_no_message() -> None:
    assert cut(b"") == []
    assert scan([], LINES, "in") == (0, 0, 0)


def test_that_nothing_has_come_yet_is_passed_on() -> None:
    found = list(items([b"a\nb", None, b"c\n", None], LINES, "in", Position()))
    assert [item and item.body for item in found] == [b"a", None, b"bc", None]


@pytest.mark.parametrize("split", [LINES, Split(per_message=3)], ids=["one", "three"])
def test_a_message_over_the_limit_is_never_held_whole(monkeypatch: pytest.MonkeyPatch, split: Split) -> None:
    monkeypatch.setattr(module, "MAX_BODY_BYTES", 20)
    read = []

    def endless() -> Iterator[bytes]:
        yield b"short\n" * 3
        while True:
            read.append(10)
            yield b"x" * 10

    for reading in (
        lambda: list(items(endless(), split, "in", Position())),
        lambda: scan(endless(), split, "in"),
    ):
        read.clear()
        with pytest.raises(ClusterError, match="in: line 4 is larger than"):
            reading()
        assert sum(read) <= 30
