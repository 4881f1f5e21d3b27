"""Growing pauses between tries."""

from __future__ import annotations


def growing_s(first_s: float, failures: int, longest_s: float) -> float:
    """Return the pause after so many failures in a row, in seconds: 0 without one, then `first_s`, then doubled."""
    return min(first_s * 2.0 ** min(failures - 1, 32), longest_s) if failures else 0.0
