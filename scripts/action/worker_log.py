"""The worker's own words: one line an event, on STDERR."""

from __future__ import annotations

from scripts.action.output import write_all
from scripts.one_line import visible

_STDERR = 2


def say(text: str) -> None:
    """Print one line for a person; the scheduler's log adds the time. A message's id in it is anybody's text."""
    write_all(_STDERR, f"cluster_worker: {visible(text)}\n".encode())
