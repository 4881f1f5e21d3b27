"""What a kept-alive action writes on file descriptor 3: a `ready` line, then a verdict line a message."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

PROTOCOL = 1
READY = b"ready %d" % PROTOCOL

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


def readable(line: bytes) -> str:
    """The beginning of any line, quoted, for a message to a person."""
    return repr(line[:60].decode("utf-8", "replace")) + ("..." if len(line) > 60 else "")


def _printable(words: list[str]) -> str:
    return "".join(char if char.isprintable() else "\ufffd" for char in " ".join(words))
