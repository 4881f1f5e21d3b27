"""The worker's own words: one line an event, on STDERR."""

from __future__ import annotations

from scripts.output import write_all

_STDERR = 2


def say(text: str) -> None:
    """Print one line for a person; the scheduler's log adds the time."""
    line = text.replace("\n", " ")
    write_all(_STDERR, f"cluster_worker: {line}\n".encode(errors="replace"))
