from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripts.action.output import LONGEST_LINE, STDERR_KEPT, Lines, say, tag_of, write_all


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    yield reading, writing
    os.close(reading)
    os.close(writing)


def _read(reading: int) -> bytes:
    try:
        return os.read(reading, 1 << 20)
    except BlockingIOError:
        return b""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=40), max_size=8))
def test_however_it_comes_it_goes_out_whole(pipe: tuple[int, int], pieces: list[bytes]) -> None:
    reading, writing = pipe
    lines = Lines(writing)
    for piece in pieces:
        lines.feed(piece)
        assert (_read(reading) or b"\n").endswith(b"\n")
    lines.finish()
    assert lines.received == sum(map(len, pieces))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=40), max_size=8))
def test_nothing_is_lost_or_added_but_the_last_newline(pipe: tuple[int, int], pieces: list[bytes]) -> None:
    reading, writing = pipe
    lines = Lines(writing)
    for piece in pieces:
        lines.feed(piece)
    lines.finish()
    whole = b"".join(pieces)
    assert _read(reading) == whole + (b"\n" if whole and not whole.endswith(b"\n") else b"")


def test_each_line_begins_with_the_tag(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    lines = Lines(writing, b"id\t")
    lines.feed(b"one\n\nthree\nfo")
    lines.feed(b"ur")
    lines.finish()
    assert _read(reading) == b"id\tone\nid\t\nid\tthree\nid\tfour\n"


def test_a_line_without_end_is_passed_on_in_pieces() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    null = os.open(os.devnull, os.O_WRONLY)
    lines = Lines(null)
    for _ in range(100):
        lines.feed(b"x" * 65536)
        assert len(lines._rest) <= LONGEST_LINE
    for descriptor in (reading, writing, null):
        os.close(descriptor)


def test_the_end_of_stderr_is_kept(pipe: tuple[int, int]) -> None:
    lines = Lines(pipe[1])
    for number in range(2000):
        lines.feed(b"line %d\n" % number)
        _read(pipe[0])
    assert len(lines.tail) == STDERR_KEPT
    assert lines.tail.endswith(b"line 1998\nline 1999\n")


def test_a_tag_is_one_word_of_one_line() -> None:
    assert tag_of("a\tb\nc\udcff\x9b\u202e") == rb"a\tb\nc\udcff\x9b\u202e" + b"\t"


def test_a_reader_that_is_gone_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    write_all(writing, b"x")
    os.close(writing)


def test_whatever_is_said_is_one_line_of_printable_text(capfd: pytest.CaptureFixture[str]) -> None:
    say("an id\nwith\r\x1b[2J\x9b and \udcff, ü: failed")
    assert capfd.readouterr().err == "cluster_worker: an id\\nwith\\r\\x1b[2J\\x9b and \\udcff, ü: failed\n"
