"""The properties of a message, and the headers that a user gives it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping

from pika import BasicProperties

from scripts.errors import ClusterError

# The file that a message was made from, in a header.
FILE_HEADER = "x-cluster-file"
OWN_HEADERS = "x-cluster-"

LONGEST_NAME_BYTES = 255
# They travel in one frame (128 KiB), and workers add some.
ALL_HEADERS_BYTES = 64 * 1024

PERSISTENT = 2


class Properties(BasicProperties):  # type: ignore[misc]
    """A persistent message's properties. From message to message only `message_id` changes; the rest is encoded once.

    (Encoding all of them each time is a third of the cost of publishing a short message.)
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__(headers=dict(headers) or None, delivery_mode=PERSISTENT, timestamp=int(time.time()))
        self.message_id = uuid.uuid4().hex
        self._before, self._after = b"".join(super().encode()).split(_short_string(self.message_id))

    def encode(self) -> list[bytes]:
        """Return the pieces of the frame; pika calls this for each message."""
        return [self._before, _short_string(self.message_id), self._after]


def headers_of(pairs: Iterable[str]) -> dict[str, str]:
    """Read message headers from `name=value` texts."""
    headers = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if any("\ud800" <= char <= "\udfff" for char in pair):  # so come bytes of a command line that are not UTF-8
            raise ClusterError(f"--header {pair[:80]!r}: it is not UTF-8; put such bytes in the body")
        if not (name and equals) or len(name.encode()) > LONGEST_NAME_BYTES:
            raise ClusterError(f"--header {pair[:80]!r}: write it as name=value")
        if name.startswith(OWN_HEADERS):
            raise ClusterError(f"--header {name}: names that begin with {OWN_HEADERS} are this project's own")
        if name in headers:
            raise ClusterError(f"--header {name}: it is given twice; a message has it once")
        headers[name] = value
    if sum(len(name.encode()) + len(value.encode()) for name, value in headers.items()) > ALL_HEADERS_BYTES:
        raise ClusterError(f"--header: all together are over {ALL_HEADERS_BYTES // 1024} KiB; put that in the body")
    return headers


def _short_string(text: str) -> bytes:
    data = text.encode()
    return bytes((len(data),)) + data
