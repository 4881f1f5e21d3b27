"""Results: where that of a message goes, and its properties."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from functools import cache
from typing import Any

import pika
from pika import data

from scripts.action.jobs import Outcome
from scripts.action.output import STDERR_KEPT
from scripts.amqp.fields import Field, short_string
from scripts.worker import headers
from scripts.worker.deliveries import Run

_PERSISTENT = 2

# A result's properties have fewer bytes than this, whatever the action and the sender said.
MOST_BYTES = 16 * 1024

# What is longer is no id of a run, and no number.
_ECHOED = 255

# There are few names, and each result has them all.
_name = cache(short_string)

# Numbers below it go into four bytes.
_INT = 2**31

_FLAGS = pika.BasicProperties.FLAG_DELIVERY_MODE | pika.BasicProperties.FLAG_CORRELATION_ID
_FLAGS |= pika.BasicProperties.FLAG_HEADERS


def queue_for(properties: pika.BasicProperties, otherwise: str | None) -> str | None:
    """Return the queue to which a message's result is to go, `otherwise` where its sender asked for none."""
    reply_to = properties.reply_to
    # Bytes: it is not UTF-8, and no queue's name.
    return reply_to if reply_to and isinstance(reply_to, str) else otherwise


def map_run(properties: pika.BasicProperties) -> str:
    """Return the run of `inv map` that a message is an item of; empty where it is of none."""
    given = (properties.headers or {}).get(headers.RUN)
    return given if isinstance(given, str) else ""


def is_trial(properties: pika.BasicProperties) -> bool:
    """Tell whether the sender of a message wants to see what one run of it comes to, and what would become of it."""
    table = properties.headers
    return bool(table) and table.get(headers.TRIAL) is True and queue_for(properties, None) is not None


def result_properties(run: Run, outcome: Outcome, failed: bool, verdict: str = "") -> Any:
    """Return the properties of a result: what became of the message, and what its sender knows it by.

    `verdict` is what would become of one that is no trial.
    """
    given = run.properties.headers or {}
    code = outcome.exit_code if outcome.signal is None else 128 + outcome.signal
    table = {
        headers.ITEM: _echoed(given.get(headers.ITEM)),
        headers.RUN: _echoed(given.get(headers.RUN)),
        # A kept-alive action has no exit code; where it says `ok`, that of a process is known.
        headers.EXIT: 0 if code is None and not failed else code,
        headers.REASON: outcome.reason[:1000] if failed else None,
        headers.ATTEMPT: run.attempt,
        headers.SECONDS: f"{outcome.seconds:.3f}",
        headers.HOST: _host(),
        headers.STDERR: headers.text_tail(outcome.stderr, STDERR_KEPT) if outcome.stderr else None,
    }
    if verdict:
        table |= {headers.VERDICT: verdict, headers.PEAK_MIB: f"{outcome.peak_kib / 1024:.1f}"}
    return ResultProperties(run.properties.correlation_id or run.id, table)


class ResultProperties(pika.BasicProperties):  # type: ignore[misc]
    """Of a persistent message with a correlation id and headers (None: left out), encoded faster than pika does it."""

    def __init__(self, correlation_id: str | bytes, table: Mapping[str, Any]) -> None:
        known = {name: value for name, value in table.items() if value is not None}
        super().__init__(headers=known, delivery_mode=_PERSISTENT, correlation_id=correlation_id)

    def encode(self) -> list[bytes]:
        """Return the pieces of the frame; pika calls this."""
        pieces = []
        for name, value in self.headers.items():
            pieces.append(_name(name))
            if type(value) is str:
                text = value.encode(errors="backslashreplace")
                pieces.append(b"S%b%b" % (len(text).to_bytes(4), text))
            elif type(value) is int and -_INT <= value < _INT:
                pieces.append(b"I" + value.to_bytes(4, signed=True))
            else:
                data.encode_value(pieces, value)
        table = b"".join(pieces)
        known_by = self.correlation_id
        text = known_by if isinstance(known_by, bytes) else known_by.encode(errors="backslashreplace")
        # The order is that of the flags, from the highest.
        after = bytes((_PERSISTENT, len(text[:255]))) + text[:255]
        return [struct.pack(">HI", _FLAGS, len(table)) + table + after]


def _echoed(value: Any) -> Any:
    """Return a header as it came, if it is one that it may be: anybody can write anything there."""
    if isinstance(value, Field):
        return value if len(value.raw) <= _ECHOED else None
    return value if isinstance(value, int) or (isinstance(value, str) and len(value) <= _ECHOED) else None


@cache
def _host() -> str:
    return socket.gethostname()
