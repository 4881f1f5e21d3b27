"""What a kept-alive action writes on file descriptor 3: a `ready` line, then a verdict line a message."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

PROTOCOL = 1

# What a pipe takes in one piece (PIPE_BUF, POSIX asks for 512, Linux has 4096), newline included.
LONGEST_LINE_BYTES = 4096

_SECONDS = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)


@dataclass(frozen=True)
class VerdictLine:
    """`ok`, `retry [seconds] [why]` or `reject [why]`; the why is printable text with single spaces."""

    word: Literal["ok", "retry", "reject"]
    why: str = ""
    retry_after_s: float | None = None

    def __str__(self) -> str:
        pause = "" if self.retry_after_s is None else f"{self.retry_after_s:.9f}".rstrip("0").rstrip(".")
        return " ".join(part for part in (self.word, pause, self.why) if part)


OK = VerdictLine("ok")


def parse(line: bytes) -> VerdictLine | None:
    """Read a line without its newline; None when it is not a verdict. Any bytes will do."""
    if line == b"ok":
        return OK
    word, *rest = line.decode("utf-8", "replace").split() or [""]
    if word == "ok" and not rest:
        return OK
    if word == "reject":
        return VerdictLine("reject", _printable(rest))
    if word != "retry":
        return None
    if rest and _SECONDS.fullmatch(rest[0]):
        return VerdictLine("retry", _printable(rest[1:]), float(rest[0]))
    return VerdictLine("retry", _printable(rest))


def answer(line: bytes, more: bytes) -> VerdictLine | str:
    """The verdict on a message, or what is wrong with it; `more` was written right behind the line."""
    if len(line) >= LONGEST_LINE_BYTES:
        return f"a line of more than {LONGEST_LINE_BYTES} bytes on file descriptor 3: {readable(line)}"
    verdict = parse(line)
    if verdict is None:
        return f"not a verdict on file descriptor 3: {readable(line)}"
    if more:
        return f"two verdicts on one message: {readable(line)} and {readable(more)}"
    return verdict


def greeting_problem(line: bytes, more: bytes) -> str:
    """What is wrong with a child's first line; empty when it is the `ready` of our version."""
    if line.split() != [b"ready", b"%d" % PROTOCOL]:
        return f"the first line on file descriptor 3 was not `ready {PROTOCOL}`: {readable(line)}"
    return unasked_problem(more) if more else ""


def unasked_problem(line: bytes) -> str:
    """What to say of a line when no message is in hand."""
    return f"a verdict without a message: {readable(line)}"


def readable(line: bytes) -> str:
    """The beginning of any line, quoted, for a message to a person."""
    line = line.rstrip(b"\n")
    return repr(line[:60].decode("utf-8", "replace")) + ("..." if len(line) > 60 else "")


def _printable(words: list[str]) -> str:
    return "".join(char if char.isprintable() else "\ufffd" for char in " ".join(words))
