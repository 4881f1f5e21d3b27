"""Files that are written whole or not at all, and locks between processes."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.errors import ClusterError


def write_atomically(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file so that nobody ever sees a part of it, even if this process ends halfway.

    A missing folder is made, for its owner alone.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # of mode 0600
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink()
        raise


@contextmanager
def locked(path: Path, taken: str) -> Iterator[None]:
    """Hold the lock on a file, which is made where it is not there; `taken` is the error where somebody holds it.

    The system releases it when this process ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClusterError(taken) from None
        yield
