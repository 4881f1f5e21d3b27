"""Failed messages on pages for people."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from cluster.queue.failures import Failure, Groups, text_of
from cluster.terminal import counted

_MOST_RANGES = 6
_STDERR_LINES = 20
_LONGEST_LINE = 200

# A longer body is no page.
SHOWN_BYTES = 4096


def overview(groups: Groups) -> Iterator[str]:
    """Yield the lines on what failed messages have in common."""
    for group in groups:
        yield ""
        yield f"{group.count:>7,}  {_reason(group.reason, group.exit)}"
        if numbers := group.numbers(_MOST_RANGES):
            yield f"         items {numbers}"
        if group.example and (line := group.example.last_line):
            yield f"         STDERR ends: {line[:_LONGEST_LINE]}"


def which(failure: Failure | None) -> str:
    """Return the flag that means this message, or one like it."""
    return f"--id {shlex.quote(failure.id)}" if failure and failure.id else "--item N"


def _reason(reason: str, exit_code: int | None) -> str:
    """Return the reason, which mostly has the exit code."""
    return reason if exit_code is None or reason == f"exit {exit_code}" else f"{reason} (exit code {exit_code})"


def page(failure: Failure, body: bytes, flags: str) -> str:
    """Return all that is known of a message; `flags` say where it is."""
    took = "" if failure.seconds is None else f", took {failure.seconds:g} s"
    history = failure.history
    facts = [
        ("id", failure.id or "none"),
        ("item", failure.item),
        ("file", failure.file),
        ("reason", _reason(failure.reason, failure.exit) or "none given"),
        ("attempts", failure.attempts),
        ("host", failure.host),
        ("started", failure.started and failure.started + took),
        ("published", failure.first_published),
        *(("before" if line is history[0] else "", line) for line in history),
    ]
    lines = [f"{name:<10} {value}" for name, value in facts if value not in (None, "")]
    if failure.stderr:
        lines += ["STDERR", *(f"  {line}" for line in failure.stderr.rstrip().splitlines()[-_STDERR_LINES:])]
    text = text_of(body) if failure.size <= SHOWN_BYTES else None
    how = f"./inv failed.export {which(failure) if failure.id else '--all'} --output FOLDER/{flags} writes it"
    shown = [f"  {line}" for line in text.splitlines()] if text is not None else [f"  {_kind(failure)}: {how}"]
    return "\n".join([*lines, f"BODY, {counted(failure.size, 'byte')}", *shown])


def _kind(failure: Failure) -> str:
    return "large" if failure.size > SHOWN_BYTES else "no text"
