"""A message's headers: its past, and the properties of a copy of it."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pika

from scripts.action.jobs import Outcome
from scripts.action.output import STDERR_KEPT
from scripts.amqp.fields import ITEM as ITEM
from scripts.amqp.fields import Field
from scripts.amqp.queues import alone_queue, failed_queue

ATTEMPT = "x-cluster-attempt"
ALONE = "x-cluster-alone"
FIRST_PUBLISHED = "x-cluster-first-published"
REASON = "x-cluster-reason"
EXIT = "x-cluster-exit"
STDERR = "x-cluster-stderr"
HOST = "x-cluster-host"
WORKER = "x-cluster-worker"
STARTED = "x-cluster-started"
SECONDS = "x-cluster-seconds"
ROUTING_KEY = "x-cluster-routing-key"
USER_ID = "x-cluster-user-id"
EXPIRATION = "x-cluster-expiration"
HISTORY = "x-cluster-history"
# Of an item of a run: the run, and the columns for the placeholders of the action (a table by name).
RUN = "x-cluster-run"
COLUMNS = "x-cluster-columns"
# A message with it is run once, and answered with what would become of it, and the memory that this took.
TRIAL = "x-cluster-trial"
VERDICT = "x-cluster-verdict"
PEAK_MIB = "x-cluster-peak-mib"

# Without the first two a message would be tried for ever; the others say what became of it.
_NEEDED = frozenset({ATTEMPT, ALONE})
_OF_A_FAILURE = frozenset({REASON, EXIT, STDERR, HOST, WORKER, STARTED, SECONDS})
_OURS = _OF_A_FAILURE | {FIRST_PUBLISHED, ROUTING_KEY, HISTORY}

# How much is kept of earlier failures: so many of them, in so many characters each.
_HISTORY_KEPT = 10
_HISTORY_CHARACTERS = 200

_DELIVERIES = "x-delivery-count"

# Anybody can put any number into a header; one more than it must still go into a copy's header.
_MOST = 1_000_000_000

# What the broker adds, and CC and BCC, with which the broker would send a copy to other queues once more.
_NOT_COPIED = {
    "x-death", "x-first-death-exchange", "x-first-death-queue", "x-first-death-reason", "x-last-death-exchange",
    "x-last-death-queue", "x-last-death-reason", _DELIVERIES, "x-acquired-count", "CC", "BCC",
}  # fmt: skip

# Headers travel in one frame, of which some bytes are its own. A `frame_max` of 0 is "no limit", which nobody needs.
_FRAME_BYTES = 128 * 1024
_OF_THE_FRAME_BYTES = 64


@dataclass(frozen=True)
class Past:
    """The past of a message, as far as it is known.

    `attempts`: runs that are counted; `lost`: deliveries since then that came back without a verdict, because a worker
    or its connection died; `alone`: the last attempt was made with nothing beside it in the worker, or is to be.
    """

    attempts: int
    lost: int
    alone: bool


def read_past(properties: pika.BasicProperties, redelivered: bool, queue: str) -> Past:
    """Read the past from the headers; `redelivered` is what the broker says of this delivery from `queue`.

    The broker counts the lost deliveries (quorum queues), each queue its own: the count on a first delivery is another
    queue's, and came along when the message was moved. What comes back from the failed queue begins anew.
    """
    headers = properties.headers
    if not headers:
        return Past(0, 0, False)
    lost = _number(headers.get(_DELIVERIES)) if redelivered else 0
    if failed_before(properties, queue):
        return Past(0, lost, False)
    return Past(_number(headers.get(ATTEMPT)), lost, headers.get(ALONE) is True)


def failed_before(properties: pika.BasicProperties, queue: str) -> str:
    """Return why the message was in the failed queue; empty if it was not, or has been copied since.

    A worker's copy there has a reason. One that the broker itself put there (a time to live, a delivery limit) died in
    the work queue last. `queue` may be the failed queue itself.
    """
    headers = properties.headers or {}
    if REASON in headers:
        return str(headers[REASON]) or "no reason given"
    match headers.get("x-death"):
        case [{"queue": str(died_in), "reason": str(reason)}, *_] if died_in == _work_queue(queue):
            return f"{reason} in queue {died_in!r}"
    return ""


def is_failed_queue(queue: str) -> bool:
    """Return whether another queue's failures go here, by its name."""
    return _work_queue(queue) != queue


def first_routing_key(properties: pika.BasicProperties, delivered: str, queue: str) -> Any:
    """Return the routing key that the sender gave, where the message was `delivered` with this one."""
    work = _work_queue(queue)
    key = (properties.headers or {}).get(ROUTING_KEY, delivered)
    by_us = {alone_queue(work), alone_queue(queue)}
    if queue != work or failed_before(properties, queue):
        by_us.add(failed_queue(work))
    return work if isinstance(key, str) and key in by_us else key


def _work_queue(queue: str) -> str:
    return queue.removesuffix(failed_queue(""))


def id_of(properties: pika.BasicProperties) -> str:
    """Return the message's id as text; for a message without one a new id."""
    given = properties.message_id
    if not given:
        return str(uuid.uuid4())
    return given if isinstance(given, str) else given.decode(errors="backslashreplace")


def copy_properties(
    properties: pika.BasicProperties, delivered: str, queue: str, more: Mapping[str, Any], expires: bool = False
) -> Any:
    """Return a copy's properties: the original's less what the broker added, and the headers `more` (None: less).

    Of an earlier failure the history keeps a line: so the message begins anew once, and not with each copy.

    The broker refuses a copy that names another user as its sender, so `user_id` moves to a header. So does the time
    after which the broker would drop the message, unless the copy `expires`: a failure is kept until somebody saw it.
    """
    headers = {name: value for name, value in (properties.headers or {}).items() if name not in _NOT_COPIED}
    key = first_routing_key(properties, delivered, queue)
    headers[ROUTING_KEY] = None if key == _work_queue(queue) else key
    if reason := failed_before(properties, queue):
        headers |= dict.fromkeys(_OF_A_FAILURE)
        headers[HISTORY] = _history(properties.headers or {}, reason)
    if properties.user_id is not None:
        headers[USER_ID] = properties.user_id
    if properties.expiration is not None and not expires:
        headers[EXPIRATION] = properties.expiration
    headers.update(more)
    made = copy(properties)
    made.headers = {name: value for name, value in headers.items() if value is not None} or None
    made.user_id = None
    made.expiration = properties.expiration if expires else None
    return made


def failure_headers(outcome: Outcome, attempt: int) -> dict[str, Any]:
    """Return the headers that a message gets in the failed queue."""
    host = socket.gethostname()
    code = outcome.exit_code if outcome.signal is None else 128 + outcome.signal
    return {
        ATTEMPT: attempt,
        ALONE: None,
        REASON: outcome.reason[:1000],
        EXIT: code,
        STDERR: text_tail(outcome.stderr, STDERR_KEPT) or None,
        HOST: host,
        WORKER: f"{host}-{os.getpid()}",
        STARTED: timestamp_text(outcome.started_at) if outcome.started_at else None,
        SECONDS: f"{outcome.seconds:.3f}" if outcome.started_at else None,
    }


def _history(headers: Mapping[str, Any], reason: str) -> list[str]:
    known = headers.get(HISTORY)
    past = [line for line in known if isinstance(line, str)] if isinstance(known, list) else []
    facts = (("in attempt", ATTEMPT), ("at", STARTED), ("on", HOST))
    line = reason + "".join(f", {word} {headers[name]}" for word, name in facts if name in headers)
    return [line[:_HISTORY_CHARACTERS] for line in [*past, line][-_HISTORY_KEPT:]]


def first_published(properties: pika.BasicProperties) -> dict[str, Any]:
    """Return the header with the time of publishing, unless it is there; where that is not known, the present one."""
    if properties.headers and FIRST_PUBLISHED in properties.headers:
        return {}
    return {FIRST_PUBLISHED: timestamp_text(time.time() if properties.timestamp is None else properties.timestamp)}


def fit(properties: Any, frame_max: int = _FRAME_BYTES) -> Any:
    """Make the properties fit into a frame: cut the stderr, then leave out the largest headers, ours last.

    The broker would close the connection on a frame that is too large, and the next one as well.
    """
    largest = (frame_max or _FRAME_BYTES) - _OF_THE_FRAME_BYTES
    over = _size(properties) - largest
    if over <= 0:
        return properties
    headers = properties.headers
    if isinstance(headers.get(STDERR), str):
        headers[STDERR] = text_tail(headers[STDERR].encode(), max(0, len(headers[STDERR].encode()) - over))
    least_wanted_last = sorted(headers.keys() - _NEEDED, key=lambda name: (name not in _OURS, _weight(headers[name])))
    # The true size is asked for seldom: there may be ten thousand headers, and heartbeats wait meanwhile.
    while least_wanted_last and (over := _size(properties) - largest) > 0:
        while least_wanted_last and over > 0:
            name = least_wanted_last.pop()
            over -= len(name) + _weight(headers.pop(name))
    return properties


def timestamp_text(seconds: float) -> str:
    """Return seconds since the epoch as ISO 8601 in UTC; what is no possible date stays a number."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return str(seconds)


def text_tail(data: bytes, most: int) -> str:
    """Return the end of `data` as text of at most `most` bytes of UTF-8, beginning with a whole character."""
    encoded = data.decode(errors="replace").encode()
    return encoded[max(0, len(encoded) - most) :].decode(errors="ignore")


def _size(properties: Any) -> int:
    return sum(len(piece) for piece in properties.encode())


def _weight(value: Any) -> int:
    return len(value.raw if isinstance(value, Field) else str(value))


def _number(value: Any) -> int:
    if isinstance(value, Field):
        value = value.value
    return min(value, _MOST) if isinstance(value, int) and value > 0 else 0
