"""What an action is told of its message: as environment variables, or as metadata where it is kept alive."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pika

from scripts.action.worker_log import say
from scripts.amqp.fields import Field
from scripts.worker.headers import EXPIRATION, USER_ID, first_routing_key

# Linux refuses to start a program with a variable over 128 KiB (MAX_ARG_STRLEN).
_LONGEST_VARIABLE = 100 * 1024


# The properties that are told, by pika's names; those that a copy cannot have are in a header then.
_PROPERTIES = (
    "content_type", "content_encoding", "delivery_mode", "priority", "correlation_id", "reply_to", "expiration",
    "timestamp", "type", "user_id", "app_id",
)  # fmt: skip
_MOVED = {"user_id": USER_ID, "expiration": EXPIRATION}

# Headers that had to share a variable, as far as that was said; whoever publishes can think of ever more of them.
_SAID: set[str] = set()
_SAID_MOST = 20


def variables(queue: str, attempt: int, redelivered: bool, routing_key: str, message_id: str,
              properties: pika.BasicProperties) -> dict[str, str]:  # fmt: skip
    """The AMQP_* variables of an action. Values that no variable can hold (a NUL, over 100 KiB) are left out."""
    found = {
        "AMQP_QUEUE": queue,
        "AMQP_MESSAGE_ID": message_id,
        "AMQP_ATTEMPT": str(attempt),
        "AMQP_REDELIVERED": "1" if redelivered else "0",
        "AMQP_ROUTING_KEY": _text(first_routing_key(properties, routing_key, queue)),
    }
    for name, value in _properties(properties):
        if value is not None:
            found[f"AMQP_{name.upper()}"] = _text(value)
    found |= _headers(properties.headers or {})
    return {name: value for name, value in found.items() if _fits(value)}


def metadata(queue: str, attempt: int, redelivered: bool, routing_key: str, message_id: str,
             properties: pika.BasicProperties) -> dict[str, Any]:  # fmt: skip
    """The same for a kept-alive action, as a value for JSON; headers keep names, and types where JSON has them."""
    return {
        "queue": queue,
        "message_id": message_id,
        "attempt": attempt,
        "redelivered": redelivered,
        "routing_key": _text(first_routing_key(properties, routing_key, queue)),
        **{name: _plain(value) for name, value in _properties(properties)},
        "headers": {_text(name): _plain(value) for name, value in (properties.headers or {}).items()},
    }


def _properties(properties: pika.BasicProperties) -> Iterator[tuple[str, Any]]:
    for name in _PROPERTIES:
        value = getattr(properties, name)
        if value is None and name in _MOVED and properties.headers:
            value = properties.headers.get(_MOVED[name])
        yield name, value


def _headers(headers: Mapping[Any, Any]) -> dict[str, str]:
    """A variable a header; of several that share one it has the first in the order of their names."""
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
    return "\0" not in value and len(value.encode(errors="surrogateescape")) < _LONGEST_VARIABLE


def _variable(name: Any) -> str:
    return "".join(char if char.isascii() and char.isalnum() else "_" for char in _text(name)).upper()


def _text(value: Any) -> str:
    plain = _plain(value)
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """A header's value as JSON knows it; bytes that are no text keep their values through surrogate escapes."""
    if isinstance(value, Field):
        value = value.value
    if isinstance(value, bytes):
        return value.decode(errors="surrogateescape")
    if isinstance(value, dict):
        return {_text(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
