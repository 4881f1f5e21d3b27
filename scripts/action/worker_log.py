"""The worker's own words: one line an event, on STDERR."""

from __future__ import annotations

from scripts.action.output import write_all

_STDERR = 2

# A message's id is anybody's text: it must not write lines of its own, nor tell a terminal what to do.
_UNPRINTABLE = dict.fromkeys([*range(32), *range(127, 160)], "?") | {ord("\n"): " "}


def say(text: str) -> None:
    """Print one line for a person; the scheduler's log adds the time."""
    write_all(_STDERR, f"cluster_worker: {printable(text)}\n".encode(errors="replace"))


def printable(text: str) -> str:
    """Return the text as one line that tells a terminal nothing."""
    return text.translate(_UNPRINTABLE)
