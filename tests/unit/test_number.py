"""What is a number."""

import math

import pytest

from scripts.number import MOST, number


def test_a_number_is_of_its_kind_and_within_its_bounds() -> None:
    assert (number(int, "7"), number(float, "7.5"), number(float, "1e3"), number(int, 7)) == (7, 7.5, 1000, 7)
    assert (number(int, "0"), number(float, str(MOST)), number(int, "3", 3, 3)) == (0, MOST, 3)
    assert type(number(int, "7")) is int


@pytest.mark.parametrize("text", ["", "many", "1.5", "1e3", "nan", None])
def test_what_is_no_whole_number_is_none(text: object) -> None:
    with pytest.raises(ValueError, match=r"^a number$"):
        number(int, text)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-0.1", "1e999", "1000000001", math.nan, math.inf])
def test_what_is_beyond_the_bounds_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"^a number from 0 to 1,000,000,000$"):
        number(float, value)


def test_infinity_is_no_whole_number() -> None:
    with pytest.raises(ValueError, match=r"^a number$"):
        number(int, math.inf)
