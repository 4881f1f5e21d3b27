"""What containers print, as lines that begin with the container's name; several at once while they run."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any

from docker.errors import APIError
from docker.models.containers import Container


def last(containers: Sequence[Container], tail: int) -> Iterator[str]:
    """The last `tail` lines of each container, one after the other."""
    for container in containers:
        for line in lines(container.logs(stream=True, follow=False, tail=tail)):
            yield f"{container.name}: {line}"


def follow(containers: Sequence[Container], tail: int) -> Iterator[str]:
    """The last `tail` lines of each container and those to come, as they come, until the last container has ended."""
    followers = [_Follower(container, tail) for container in containers]
    arriving: SimpleQueue[str | None] = SimpleQueue()
    for follower in followers:
        Thread(target=follower.run, args=[arriving], daemon=True).start()
    try:
        for _ in followers:
            yield from iter(arriving.get, None)
    finally:
        for follower in followers:
            follower.close()


def lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Chunks of output, cut anywhere, as lines; what is no UTF-8 is replaced."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace").removesuffix("\r") for line in whole)
    if rest:
        yield rest.decode(errors="replace")


class _Follower:
    """Reads one container's output in a thread, also when Docker starts its program again (the stream ends then)."""

    def __init__(self, container: Container, tail: int) -> None:
        self.container, self.tail = container, tail
        self.stream: Any = None
        self.is_closed = False

    def run(self, arriving: SimpleQueue[str | None]) -> None:
        try:
            ended_s = self._read(arriving, tail=self.tail)
            while not self.is_closed and self._runs_again():
                ended_s = self._read(arriving, since=ended_s)
        except APIError:
            pass  # the container was removed
        finally:
            arriving.put(None)

    def _read(self, arriving: SimpleQueue[str | None], **which: Any) -> float:
        self.stream = self.container.logs(stream=True, follow=True, **which)
        for line in lines(self.stream):
            arriving.put(f"{self.container.name}: {line}")
        return time.time()

    def _runs_again(self) -> bool:
        self.container.reload()
        return self.container.status in ("running", "restarting")

    def close(self) -> None:
        self.is_closed = True
        if self.stream is not None:
            with suppress(OSError):
                self.stream.close()
