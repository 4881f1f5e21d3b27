"""The result of a run: its STDOUT, kept in place of being printed where somebody asked for it."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

_UNITS = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


class Result:
    """Keeps what comes, up to `limit` bytes; of more, which is no result, nothing. `received` counts it all.

    `came` is called whenever something came.
    """

    __slots__ = ("_came", "_kept", "limit", "received")

    def __init__(self, limit: int, came: Callable[[], None]) -> None:
        self.limit, self._came = limit, came
        # Its value is handed over without a copy, however large it is.
        self._kept = BytesIO()
        self.received = 0

    @property
    def is_over(self) -> bool:
        """True once more came than a result can have."""
        return self.received > self.limit

    @property
    def value(self) -> bytes:
        """The bytes that came; empty where they were too many."""
        return self._kept.getvalue()

    def feed(self, data: bytes) -> None:
        """Keep what came now."""
        self.received += len(data)
        if not self.is_over:
            self._kept.write(data)
        elif self._kept.tell():
            self._kept = BytesIO()
        self._came()

    def finish(self) -> None:
        """End the stream, of which nothing is held back."""


def over_limit(limit: int) -> str:
    """Return the reason of a message whose action printed more than its result can have."""
    size, unit = next(((size, unit) for size, unit in _UNITS if limit and limit % size == 0), (1, "bytes"))
    return f"its result is over the limit of {limit // size} {unit} (--result-limit)"
