"""The output of containers, as lines that begin with the container's name; several at once while they run."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from queue import SimpleQueue
from threading import Thread
from typing import Any

from docker.errors import APIError
from docker.models.containers import Container

# Docker is asked for the lines since a little before the last one, since it takes a time as a rounded number; what came
# already is known by its exact time.
_OVERLAP_S = 0.001


def last(containers: Sequence[Container], tail: int) -> Iterator[str]:
    """Yield the last `tail` lines of each container, one after the other."""
    for container in containers:
        for line in lines(container.logs(stream=True, follow=False, tail=tail)):
            yield f"{container.name}: {line}"


def follow(containers: Sequence[Container], tail: int) -> Iterator[str]:
    """Yield the last `tail` lines of each container and those to come, until the last container has ended."""
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
    """Yield chunks of output, cut anywhere, as lines; what is no UTF-8 is replaced."""
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
        self.last = b""
        self.is_closed = False

    def run(self, arriving: SimpleQueue[str | None]) -> None:
        began_s = time.time()
        try:
            self._read(arriving, tail=self.tail)
            while not self.is_closed and self._runs_again():
                self._read(arriving, since=seconds(self.last) - _OVERLAP_S if self.last else began_s)
        except APIError:
            pass  # the container was removed
        finally:
            arriving.put(None)

    def _read(self, arriving: SimpleQueue[str | None], **which: Any) -> None:
        self.stream = self.container.logs(stream=True, follow=True, timestamps=True, **which)
        for line in lines(self._new_chunks()):
            arriving.put(f"{self.container.name}: {line}")

    def _new_chunks(self) -> Iterator[bytes]:
        """Yield what was not read before; each chunk comes as its time, a space and a line or a part of a long one."""
        before = self.last
        for chunk in self.stream:
            self.last, _, text = chunk.partition(b" ")
            if self.last > before:
                yield text

    def _runs_again(self) -> bool:
        self.container.reload()
        return self.container.status in ("running", "restarting")

    def close(self) -> None:
        self.is_closed = True
        if self.stream is not None:
            with suppress(OSError):
                self.stream.close()


def seconds(at: bytes) -> float:
    """Read a time of Docker's (RFC 3339 in UTC with nine digits of a second, which sorts as text) as seconds."""
    return datetime.fromisoformat(at.decode()).timestamp()
