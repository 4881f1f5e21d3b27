"""Placeholders in an action's words."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.action.placeholders import Template, shell_text
from tests.refusing import refusal


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["mc.r"], ()),
        (["mc.r", "{}", "--n={2}", "{alpha}{2}", "{#}"], ("", "2", "alpha", "#")),
        (["mc.r", "${HOME}/{1}"], ("1",)),
        (["{1}", "{2}"], ("2",)),
        (["sh", "-c", "echo {1}", "sh", "{2}"], ("2",)),
    ],
)
def test_names_are_found_once_each_and_not_in_the_text_of_a_shell(words: list[str], names: tuple[str, ...]) -> None:
    assert Template(words).names == names


_values = st.binary().map(lambda value: value.replace(b"\0", b""))


@given(_values, _values)
def test_a_value_of_any_bytes_stays_within_its_word(line: bytes, column: bytes) -> None:
    filled = Template(["mc{2}.r", "{}", "--n={2}", "{other}"]).fill({"": line, "2": column})
    assert filled == [b"mc{2}.r", line, b"--n=" + column, b"{other}"]


def test_a_nul_byte_is_refused_by_its_placeholders_name() -> None:
    assert "{alpha}" in refusal(Template(["mc.r", "--a={alpha}"]).fill, {"alpha": b"a\0b"})


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="{\0", exclude_categories=["Cs"])), min_size=1))
def test_words_without_placeholders_stay(words: list[str]) -> None:
    assert Template(words).fill({"": b"x", "1": b"y"}) == [os.fsencode(word) for word in words]


@pytest.mark.parametrize(
    ("words", "place"),
    [(["sh", "-c", "x"], 2), (["/bin/bash", "-e", "-c", "x", "a"], 3), (["bash", "-ec", "x"], 2),
     (["sh", "script", "-c", "x"], None), (["python3", "-c", "x"], None), (["sh", "-c"], None)],
)  # fmt: skip
def test_the_text_of_a_shell_is_known(words: list[str], place: int | None) -> None:
    assert shell_text(words) == place
