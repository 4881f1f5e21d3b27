"""A message's metadata for its action: as environment variables, or as JSON where that is kept alive."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any

from scripts.action.jobs import Job
from scripts.action.output import say
from scripts.action.placeholders import LINE, NUMBER
from scripts.amqp.fields import Field
from scripts.worker.deliveries import Run
from scripts.worker.headers import COLUMNS, EXPIRATION, ITEM, RUN, USER_ID, first_routing_key
from scripts.worker.results import is_trial

# Linux refuses to start a program with a variable over 128 KiB (MAX_ARG_STRLEN).
_LONGEST_VARIABLE = 100 * 1024
_MOST_BYTES_A_CHARACTER = 4

# The properties, by pika's names; those that a copy cannot have are in a header then.
_PROPERTIES = (
    "content_type", "content_encoding", "delivery_mode", "priority", "correlation_id", "reply_to", "expiration",
    "timestamp", "type", "user_id", "app_id",
)  # fmt: skip
_MOVED = {"user_id": USER_ID, "expiration": EXPIRATION}

# Values that JSON has as they are.
_PLAIN = {str, int, bool}

# Headers that had to share a variable, as far as that was said; whoever publishes can think of ever more of them.
_SAID: set[str] = set()
_SAID_MOST = 20

# The same headers come with each message, as a rule.
_NAMES_KEPT = 200


def job(queue: str, run: Run, result_limit: int | None = None) -> Job:
    """Return the message as its runner takes it; its result has `result_limit` bytes at most (None: not wanted)."""
    return Job(
        run.id, run.body, partial(variables, queue, run), partial(metadata, queue, run), result_limit, _values(run),
        is_trial(run.properties),
    )  # fmt: skip


def variables(queue: str, run: Run) -> dict[str, str]:
    """Return the AMQP_* variables of an action, less those that no variable can hold (a NUL, over 100 KiB)."""
    facts = _facts(queue, run) | {"redelivered": int(run.redelivered)}
    found = {f"AMQP_{name.upper()}": _text(value) for name, value in facts.items() if value is not None}
    found |= _headers(run.properties.headers or {})
    return {name: value for name, value in found.items() if _fits(value)}


def metadata(queue: str, run: Run) -> dict[str, Any]:
    """Return the same for a kept-alive action, for JSON; headers keep names, and types where JSON has them."""
    return _facts(queue, run) | {"headers": plain(run.properties.headers or {})}


def _values(run: Run) -> dict[str, bytes] | None:
    """Return what fills the placeholders of the action's words for an item; None for other messages.

    Anybody can have put anything into the headers: what is there has a text, and what is not leaves its placeholder.
    """
    headers = run.properties.headers or {}
    if headers.get(RUN) is None:
        return None
    columns = plain(headers.get(COLUMNS))
    found = {name: _bytes(value) for name, value in columns.items()} if isinstance(columns, dict) else {}
    if (item := item_of(run)) is not None:
        found[NUMBER] = b"%d" % item
    found[LINE] = run.body.removesuffix(b"\n")
    return found


def item_of(run: Run) -> int | None:
    """Return the item's number, where the message has one."""
    item = plain((run.properties.headers or {}).get(ITEM))
    return item if isinstance(item, int) and not isinstance(item, bool) else None


def _facts(queue: str, run: Run) -> dict[str, Any]:
    properties = run.properties
    facts = {
        "queue": queue,
        "message_id": run.id,
        "item": item_of(run),
        "attempt": run.attempt,
        "redelivered": run.redelivered,
        "routing_key": _text(first_routing_key(properties, run.routing_key, queue)),
    }
    for name in _PROPERTIES:
        value = getattr(properties, name)
        if value is None and name in _MOVED:
            value = (properties.headers or {}).get(_MOVED[name])
        facts[name] = plain(value)
    return facts


def _headers(headers: Mapping[Any, Any]) -> dict[str, str]:
    """Return a variable for each header; of several that share one the first in the order of their names."""
    found: dict[str, str] = {}
    names: dict[str, str] = {}
    for name, value in headers.items():
        variable, text = f"AMQP_HEADER_{_variable(name)}", _text(name)
        if variable in names:
            _say_shared(variable, *sorted((names[variable], text)))
            if names[variable] < text:
                continue
        names[variable], found[variable] = text, _text(value)
    return found


def _say_shared(variable: str, first: str, other: str) -> None:
    if variable not in _SAID and len(_SAID) < _SAID_MOST:
        _SAID.add(variable)
        say(f"headers {first!r} and {other!r} are both the variable {variable}: it has the value of {first!r}")


def _fits(value: str) -> bool:
    is_short = len(value) < _LONGEST_VARIABLE // _MOST_BYTES_A_CHARACTER
    return "\0" not in value and (is_short or len(value.encode(errors="surrogateescape")) < _LONGEST_VARIABLE)


@lru_cache(_NAMES_KEPT)
def _variable(name: Any) -> str:
    return "".join(char if char.isascii() and char.isalnum() else "_" for char in _text(name)).upper()


def _text(value: Any) -> str:
    found = plain(value)
    if type(found) is int:
        return str(found)
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


def _bytes(value: Any) -> bytes:
    return _text(value).encode(errors="surrogateescape")


def plain(value: Any) -> Any:
    """Return a header's value as JSON knows it; bytes that are no text keep their values in surrogate escapes."""
    if value is None or type(value) in _PLAIN:
        return value
    if isinstance(value, Field):
        value = value.value
    if isinstance(value, bytes):
        return value.decode(errors="surrogateescape")
    if isinstance(value, dict):
        return {_text(name): plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
