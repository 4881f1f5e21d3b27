"""What an action is told of its message: as environment variables, or as metadata where it is kept alive."""

from __future__ import annotations

import json
from typing import Any

import pika

from scripts.amqp.fields import Field
from scripts.worker.headers import first_routing_key

# Linux refuses to start a program with a variable over 128 KiB (MAX_ARG_STRLEN).
_LONGEST_VARIABLE = 100 * 1024


def variables(queue: str, attempt: int, redelivered: bool, routing_key: str, message_id: str,
              properties: pika.BasicProperties) -> dict[str, str]:  # fmt: skip
    """The AMQP_* variables of an action. Values that no variable can hold (a NUL, over 100 KiB) are left out."""
    headers = properties.headers or {}
    found = {
        "AMQP_QUEUE": queue,
        "AMQP_MESSAGE_ID": message_id,
        "AMQP_ATTEMPT": str(attempt),
        "AMQP_REDELIVERED": "1" if redelivered else "0",
        "AMQP_ROUTING_KEY": _text(first_routing_key(properties, routing_key, queue)),
    }
    if properties.content_type is not None:
        found["AMQP_CONTENT_TYPE"] = _text(properties.content_type)
    if properties.timestamp is not None:
        found["AMQP_TIMESTAMP"] = str(properties.timestamp)
    for name, value in headers.items():
        found[f"AMQP_HEADER_{_variable(name)}"] = _text(value)
    return {name: value for name, value in found.items() if _fits(value)}


def metadata(queue: str, attempt: int, redelivered: bool, routing_key: str, message_id: str,
             properties: pika.BasicProperties) -> dict[str, Any]:  # fmt: skip
    """The same for a kept-alive action, as a value for JSON; headers keep their types where JSON has them."""
    headers = properties.headers or {}
    return {
        "queue": queue,
        "message_id": message_id,
        "attempt": attempt,
        "redelivered": redelivered,
        "routing_key": _text(first_routing_key(properties, routing_key, queue)),
        "content_type": None if properties.content_type is None else _text(properties.content_type),
        "timestamp": properties.timestamp,
        "headers": {_text(name): _plain(value) for name, value in headers.items()},
    }


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
