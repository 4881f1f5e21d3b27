"""The last lines of log files, those to come, and lines out of chunks."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.schedulers.docker.containers import lines
from cluster.schedulers.process import instance as process_instance


def test_the_last_lines(tmp_path):
    log = tmp_path / "log"
    assert process_instance.last(log, 3) == []
    log.write_bytes(b"1\n2\r\n3\n\xff no end")
    assert process_instance.last(log, 3) == ["2", "3", "\N{REPLACEMENT CHARACTER} no end"]
    assert process_instance.last(log, 0) == []


def test_a_begun_line_is_waited_for_unless_nothing_will_come(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("old\nbeg")
    two.write_text("")
    asked = []

    def is_over() -> bool:
        asked.append(1)
        if len(asked) == 2:
            with one.open("a") as file:
                file.write("un\n")
            with two.open("a") as file:
                file.write("last")
        return len(asked) == 3

    followed = process_instance.follow({"one": one, "two": two}, 1, is_over)
    assert list(followed) == ["one: old", "one: begun", "two: last"]


@given(text=st.text(), cuts=st.lists(st.integers(0, 200)))
def test_chunks_cut_anywhere_make_the_same_lines(text, cuts):
    content = text.encode()
    places = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    chunks = [content[a:b] for a, b in pairwise(places)]
    expected = [line.removesuffix("\r") for line in text.split("\n")]
    expected = expected if expected[-1] else expected[:-1]
    assert [line.removesuffix("\r") for line in lines(chunks)] == expected


@pytest.mark.parametrize("chunks", [[], [b""]])
def test_no_output_has_no_lines(chunks):
    assert list(lines(chunks)) == []
