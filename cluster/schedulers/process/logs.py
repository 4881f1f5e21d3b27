"""The last lines of log files, and those to come."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from cluster.schedulers.waiting import POLL_S


def last(log: Path, count: int) -> list[str]:
    """Return the last `count` lines of a file; none where there is no file."""
    try:
        with log.open("rb") as file:
            return [_text(line) for line in deque(file, maxlen=count)]
    except FileNotFoundError:
        return []


def follow(logs: dict[str, Path], tail: int, is_over: Callable[[], bool]) -> Iterator[str]:
    """Yield the last `tail` lines of each file and those to come, as they come, until it is over."""
    files = {name: log.open("rb") for name, log in logs.items()}
    try:
        for name, file in files.items():
            yield from (f"{name}: {line}" for line in deque(_new_lines(file, over=False), maxlen=tail))
        over = False
        while not over:
            over = is_over()  # asked before the files are read, so that the last lines are not lost
            for name, file in files.items():
                yield from (f"{name}: {line}" for line in _new_lines(file, over))
            time.sleep(0 if over else POLL_S)
    finally:
        for file in files.values():
            file.close()


def _new_lines(file: BinaryIO, over: bool) -> Iterator[str]:
    """Yield whole lines; a begun one is left to be read again, unless nothing will come."""
    for line in iter(file.readline, b""):
        if not line.endswith(b"\n") and not over:
            file.seek(-len(line), 1)
            return
        yield _text(line)


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r\n")
