"""A connection whose frames go to the socket together."""

from __future__ import annotations

from typing import Any

import pika

SEGMENT_BYTES = 64 * 1024


class BatchedConnection(pika.SelectConnection):  # type: ignore[misc]
    """Joins the frames of one turn of the event loop to segments before they go to the socket.

    pika makes a system call for each of a message's three frames, which is most of the work of publishing a short
    message. `_adapter_emit_data` and `_adapter_disconnect_stream` are what each of pika's adapters must have; should a
    later pika not call them any more, frames go out one by one again.
    """

    def __init__(self, *args: Any, custom_ioloop: Any, **kwargs: Any) -> None:
        self._loop = custom_ioloop
        self._held: list[bytes] = []
        self._held_bytes = 0
        super().__init__(*args, custom_ioloop=custom_ioloop, **kwargs)

    def _adapter_emit_data(self, data: bytes) -> None:
        if not self._held:
            self._loop.call_later(0, self._flush)
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes >= SEGMENT_BYTES:
            self._flush()

    def _adapter_disconnect_stream(self) -> None:
        self._flush()
        super()._adapter_disconnect_stream()

    def _flush(self) -> None:
        held, self._held, self._held_bytes = self._held, [], 0
        if held and not self.is_closed:
            super()._adapter_emit_data(b"".join(held))
