"""The record of an item, as the output has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Record:
    """The outcome of one item: `number` is its line's (from 1), `place` its place among the items of the run (from 0).

    `input` is the item itself (a line without its end, or a file's path), `columns` those of its columns that have
    names. `result` is what the action printed to STDOUT. `reason` is empty where it succeeded; `exit` is None where no
    exit code is known; `seconds` is how long the last attempt took.
    """

    number: int
    place: int
    input: bytes
    result: bytes = b""
    reason: str = ""
    exit: int | None = 0
    attempts: int = 1
    seconds: float = 0.0
    host: str = ""
    stderr: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """True where the item has failed for good."""
        return bool(self.reason)
