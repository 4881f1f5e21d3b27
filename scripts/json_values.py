"""Values of JSON that a server wrote: of another kind than expected, or missing, they count as empty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MOST = 1e15


def mapping(value: Any) -> Mapping[str, Any]:
    """Return an object as it is; for anything else an empty one."""
    return value if isinstance(value, dict) else {}


def mappings(value: Any) -> list[Mapping[str, Any]]:
    """Return the objects of an array; for anything else none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def amount(value: Any) -> float:
    """Return a number of a sensible size as it is; for anything else 0."""
    return value if isinstance(value, int | float) and abs(value) < _MOST else 0
