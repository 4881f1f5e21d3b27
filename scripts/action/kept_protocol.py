"""The protocol of a kept-alive action (docs/keep-alive.md): messages on its STDIN, verdict lines on descriptor 3."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scripts.action.jobs import Job, Verdict
from scripts.errors import ClusterError

PROTOCOL = 1

# What a pipe takes in one piece (PIPE_BUF, POSIX asks for 512, Linux has 4096), newline included.
LONGEST_LINE_BYTES = 4096

_BYTES = re.compile(r"\d{1,15}", re.ASCII)
_SECONDS = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)


def line(job: Job) -> bytes:
    """Return the body as one line; refuse one with newlines before its end, which would arrive as several messages."""
    body = job.body.removesuffix(b"\n")
    at = body.find(b"\n")
    if at >= 0:
        raise ClusterError(f"the body has a newline at byte {at}, so it is not one line: use --framing netstring")
    return body + b"\n"


def netstrings(job: Job) -> bytes:
    """Return two netstrings, `LENGTH:BYTES,` each: the message's metadata as JSON in ASCII, then its body."""
    metadata = _json(job.metadata())
    return b"%d:%b,%d:%b," % (len(metadata), metadata, len(job.body), job.body)


FRAMINGS: dict[str, Callable[[Job], bytes]] = {"lines": line, "netstring": netstrings}


def _json(value: Any) -> bytes:
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
    except ValueError:  # JSON has no NaN and no infinity, AMQP has both: they become text
        return _json(json.loads(json.dumps(value), parse_constant=str))


@dataclass(frozen=True)
class VerdictLine:
    """A verdict: `ok [bytes]`, `retry [seconds] [why]` or `reject [why]`.

    The reason is printable text with single spaces; `result_bytes` is how much of STDOUT is the message's result.
    """

    verdict: Verdict
    reason: str = ""
    retry_after_s: float | None = None
    result_bytes: int | None = None


OK = VerdictLine("done")


def parse(line: bytes) -> VerdictLine | None:
    """Read a line without its newline; None when it is not a verdict. Any bytes will do."""
    if line == b"ok":
        return OK
    word, *rest = line.decode("utf-8", "replace").split() or [""]
    if word == "ok" and not rest:
        return OK
    if word == "ok" and len(rest) == 1 and _BYTES.fullmatch(rest[0]):
        return VerdictLine("done", result_bytes=int(rest[0]))
    if word not in ("retry", "reject"):
        return None
    pause_s = float(rest.pop(0)) if word == "retry" and rest and _SECONDS.fullmatch(rest[0]) else None
    why = "".join(char if char.isprintable() else "\ufffd" for char in " ".join(rest))
    return VerdictLine("failed" if word == "retry" else "rejected", why or word, pause_s)


def answer(line: bytes, more: bytes) -> VerdictLine | str:
    """Return the verdict on a message, or what is wrong with it; `more` was written right behind the line."""
    if len(line) >= LONGEST_LINE_BYTES:
        return f"a line of more than {LONGEST_LINE_BYTES} bytes on file descriptor 3: {readable(line)}"
    verdict = parse(line)
    if verdict is None:
        return f"not a verdict on file descriptor 3: {readable(line)}"
    if more:
        return f"two verdicts on one message: {readable(line)} and {readable(more)}"
    return verdict


def greeting_problem(line: bytes, more: bytes) -> str:
    """Return what is wrong with a child's first line; empty when it is the `ready` of our version."""
    if line.split() != [b"ready", b"%d" % PROTOCOL]:
        return f"the first line on file descriptor 3 was not `ready {PROTOCOL}`: {readable(line)}"
    return unasked_problem(more) if more else ""


def unasked_problem(line: bytes) -> str:
    """Return what to say of a line when no message is in hand."""
    return f"a verdict without a message: {readable(line)}"


def uncounted(printed: int) -> VerdictLine:
    """Return what becomes of a message whose program does not say how much of its STDOUT is the result."""
    why = f"the action printed {printed} bytes and wrote `ok`: for a result it must write `ok BYTES`"
    return VerdictLine("rejected", f"{why} (docs/keep-alive.md)")


def size_problem(verdict: VerdictLine, printed: int) -> str:
    """Return what to say where another number of bytes was printed than the verdict says."""
    return f"the action wrote `ok {verdict.result_bytes}` and printed {printed} bytes for this message"


def readable(line: bytes) -> str:
    """Return the beginning of any line, quoted, for a message to a person."""
    line = line.rstrip(b"\n")
    return repr(line[:60].decode("utf-8", "replace")) + ("..." if len(line) > 60 else "")
