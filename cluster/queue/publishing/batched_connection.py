"""A pika connection that sends many small frames in one system call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pika

SEGMENT_BYTES = 64 * 1024


class BatchedConnection(pika.SelectConnection):  # type: ignore[misc]
    """Joins frames to segments before they go to the socket, while `batching`.

    pika makes a system call for each of a message's three frames, which is most of the work of publishing a short
    message. `_adapter_emit_data` is what each of pika's adapters must have; should a later pika not call it any more,
    frames go out one by one again.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._is_batching = False
        self._held: list[bytes] = []
        self._held_bytes = 0
        super().__init__(*args, **kwargs)

    @contextmanager
    def batching(self) -> Iterator[None]:
        """Hold frames back until they make a segment, or this ends."""
        self._is_batching = True
        try:
            yield
        finally:
            self._is_batching = False
            self._flush()

    def _adapter_emit_data(self, data: bytes) -> None:
        self._held.append(data)
        self._held_bytes += len(data)
        if not self._is_batching or self._held_bytes >= SEGMENT_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._held and not self.is_closed:
            super()._adapter_emit_data(b"".join(self._held))
        self._held.clear()
        self._held_bytes = 0
