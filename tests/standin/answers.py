"""What is asked and what is answered, and Marathon's own form of an error (MarathonExceptionMapper.scala)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """What was asked; header names are in lower case."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes = b""

    def says(self, name: str, default: bool) -> bool:
        """A parameter that is true or false."""
        return self.query.get(name, [str(default)])[0].lower() == "true"


@dataclass(frozen=True)
class Response:
    """What is answered."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, text: str, **more: Any) -> None:
        super().__init__(text)
        self.response = as_json({"message": text} | more, status)


def as_json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(status, json.dumps(content, separators=(",", ":")).encode(), headers=headers or {})


def message(status: int, text: str) -> Response:
    """Marathon's own form of an error."""
    return as_json({"message": text}, status)


def invalid(errors: list[tuple[str, str]], title: str = "Object is not valid") -> Refused:
    """422 with one entry a path, each with all that is wrong there."""
    paths = dict.fromkeys(path for path, _ in errors)
    details = [{"path": path or "/", "errors": [text for at, text in errors if at == path]} for path in paths]
    return Refused(422, title, details=details)
