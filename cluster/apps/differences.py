"""Differences between two definitions or apps, for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from scripts.one_line import one_line

Path = tuple[str | int, ...]

_LONGEST = 100


def dotted(path: Sequence[str | int]) -> str:
    """Return a place in a definition for people: `container.portMappings[0].hostPort`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def differences(
    present: Any, wanted: Any, is_equal: Callable[[Any, Any, Path], bool] | None = None, path: Path = ()
) -> Iterator[str]:
    """Yield what is not as wanted, a line each: `mem_mib: 512 -> 1024`; `is_equal` knows values that mean the same."""
    if _are(dict, present, wanted):
        old, new = present or {}, wanted or {}
        for key in sorted({**old, **new}):
            yield from differences(old.get(key), new.get(key), is_equal, (*path, key))
    elif isinstance(present, list | tuple) and isinstance(wanted, list | tuple) and len(present) == len(wanted):
        for index, (old, new) in enumerate(zip(present, wanted, strict=True)):
            yield from differences(old, new, is_equal, (*path, index))
    elif not (is_equal(present, wanted, path) if is_equal else present == wanted):
        yield f"{dotted(path)}: {_shown(present)} -> {_shown(wanted)}"


def _are(kind: type, one: Any, other: Any) -> bool:
    """Return True when one is of this kind, and the other too or missing."""
    return all(value is None or isinstance(value, kind) for value in (one, other)) and not (one is other is None)


def _shown(value: Any) -> str:
    return "nothing" if value is None else one_line(json.dumps(value, ensure_ascii=False), _LONGEST)
