"""Files that are written whole or not at all, notes of how far something has come, and locks between processes."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
    """Hold the lock on a file, which is there as long; `taken` is the error where somebody holds it.

    The system releases it when this process ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ClusterError(taken) from None
            if os.fstat(file.fileno()).st_nlink:  # else it was deleted by the one who held it
                try:
                    yield
                finally:
                    path.unlink(missing_ok=True)
                return


class Notes:
    """A small JSON object in a file of its own, locked while it is open, and written in place.

    A process that is killed leaves the old text, the new one, or the new one with the rest of a longer old one behind
    it, which is ignored. `found` is what it says, None while it is new.

    Raises:
        BlockingIOError: another process has it open.
        OSError: it cannot be opened or written.
        ValueError: it is damaged.
    """

    _LARGEST_BYTES = 1024 * 1024

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            text = os.pread(self._fd, self._LARGEST_BYTES, 0).decode()
            # Not json.loads: behind the text may be the rest of a longer one.
            self.found = json.JSONDecoder().raw_decode(text)[0] if text else None
            if text and not isinstance(self.found, dict):
                raise ValueError(f"{path} is no JSON object")
        except BaseException:
            os.close(self._fd)
            raise

    def write(self, what: Any, is_safe: bool = False) -> None:
        """Replace the text; return when it is on the disk where it `is_safe`, else a loss of power may lose it."""
        text = json.dumps(what).encode()
        os.pwrite(self._fd, text, 0)
        os.ftruncate(self._fd, len(text))
        if is_safe:
            os.fsync(self._fd)

    def close(self, delete: bool = False) -> None:
        """Unlock the file, which is deleted on demand."""
        if delete:
            self.path.unlink(missing_ok=True)
        os.close(self._fd)
