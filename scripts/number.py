"""Numbers as people give them, on a command line or in a file."""

from __future__ import annotations

from typing import Any

# Thirty years in seconds: whoever writes more has mistyped, and some waits cannot take more.
MOST = 1_000_000_000


def number(kind: type[int] | type[float], text: Any, least: float = 0, most: float = MOST) -> int | float:
    """Read a number; none is infinite, and `nan` is none.

    Raises:
        ValueError: no number of this kind, or not from `least` to `most`; it says what is wanted.
    """
    if isinstance(text, bool) or (kind is int and isinstance(text, float) and text % 1 > 0):
        raise ValueError("a number" if isinstance(text, bool) else "a whole number")
    try:
        value = kind(text)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("a number") from None
    if not least <= value <= most:
        raise ValueError(f"a number from {least:,} to {most:,}")
    return value
