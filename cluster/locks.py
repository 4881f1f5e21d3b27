"""Locks between processes, which the system releases when their holder ends."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.errors import ClusterError


@contextmanager
def locked(path: Path, taken: str) -> Iterator[None]:
    """Hold the lock on a file, which is made where it is not there; `taken` is the error where somebody holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClusterError(taken) from None
        yield
