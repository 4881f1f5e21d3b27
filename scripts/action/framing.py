"""How a message is written on the STDIN of a kept-alive action (docs/keep-alive.md)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from scripts.action.jobs import Job
from scripts.errors import ClusterError


def line(job: Job) -> bytes:
    """The body as one line; a newline at its end is the line's own.

    Raises:
        ClusterError: the body has other newlines, so that it would arrive as several messages.
    """
    body = job.body.removesuffix(b"\n")
    at = body.find(b"\n")
    if at >= 0:
        raise ClusterError(f"the body has a newline at byte {at}, so it is not one line: use --framing netstring")
    return body + b"\n"


def netstrings(job: Job) -> bytes:
    """Two netstrings, `LENGTH:BYTES,` each: the message's metadata as JSON in ASCII, then its body."""
    metadata = _json(job.metadata)
    return b"%d:%b,%d:%b," % (len(metadata), metadata, len(job.body), job.body)


FRAMINGS: dict[str, Callable[[Job], bytes]] = {"lines": line, "netstring": netstrings}


def _json(value: Any) -> bytes:
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
    except ValueError:  # JSON has no NaN and no infinity, AMQP has both: they become text
        return _json(json.loads(json.dumps(value), parse_constant=str))
