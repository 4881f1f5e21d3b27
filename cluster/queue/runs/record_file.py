"""A file of records: locked, only ever longer by whole records, and mended when it is opened again."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from cluster.queue.runs.formats import Entry, Format
from scripts.errors import ClusterError

_BUFFER_BYTES = 256 * 1024


class RecordFile:
    """A locked file to which records are added."""

    def __init__(self, path: Path, form: Format) -> None:
        # A link stays one when its file is replaced.
        self.path = Path(os.path.realpath(path))
        self.form = form
        self._buffer = bytearray()
        self._is_on_disk = False
        self._fd = _open_locked(self.path)
        self._size = os.fstat(self._fd).st_size
        self._new.unlink(missing_ok=True)  # of a process that was killed

    @property
    def _new(self) -> Path:
        """The file that is to take the place of this one."""
        return self.path.with_name(f".{self.path.name}.new")

    def read(self, wrong: Callable[[int], str] = lambda _: "") -> Iterator[Entry]:
        """Yield the records; then cut off a last one that is torn. What is not ours is refused, and left as it is.

        `wrong` says why there can be no record of an item's number here.
        """
        self._flush()
        line, end = 1, 0
        torn = b""
        with os.fdopen(os.dup(self._fd), "rb") as file:
            file.seek(0)
            for raw in self.form.pieces(file):
                if torn:
                    break
                if entry := self._entry(raw, end):
                    if why := wrong(entry.number):
                        raise ClusterError(f"{self.path}: line {line:,}: {why}; mend that line, or name another output")
                    yield entry
                elif end or raw != self.form.header:
                    torn = raw
                    continue
                end += len(raw)
                line += raw.count(b"\n")
            else:
                return self._mend(torn, end, line)
        raise self._not_ours(line)

    def _entry(self, raw: bytes, end: int) -> Entry | None:
        """Return the record; None where it is none, or the header."""
        if not end and self.form.header:
            return None
        try:
            return self.form.parse(raw)
        except ValueError:
            return None

    def _mend(self, torn: bytes, end: int, line: int) -> None:
        header = self.form.header
        may_be_torn = self.form.may_be_torn(torn) if end or not header else self._is_bare(torn)
        # After a loss of power there may be zeros.
        if torn and not may_be_torn and torn.strip(b"\0"):
            raise self._not_ours(line)
        if torn:
            os.ftruncate(self._fd, end)
        self._size = end
        if not end:
            self.add(header)

    def _is_bare(self, begin: bytes) -> bool:
        """Return whether no record was ever written behind this, which is a part of the header, or other columns'."""
        return self.form.header.startswith(begin) or self.form.is_header(begin)

    def _not_ours(self, line: int) -> ClusterError:
        header = f"; it would begin with {self.form.header.decode(errors='replace').strip()!r}" if line == 1 else ""
        return ClusterError(
            f"{self.path}: line {line:,} is no record of an output like this{header if self.form.header else ''}; "
            "mend that line, or name another output"
        )

    def add(self, raw: bytes) -> None:
        """Add a record, which is written with others."""
        self._buffer += raw
        if len(self._buffer) >= _BUFFER_BYTES:
            self._flush()

    def _flush(self) -> None:
        try:
            write_all(self._fd, self._buffer)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._fd, self._size)
            raise
        self._is_on_disk = self._is_on_disk and not self._buffer
        self._size += len(self._buffer)
        self._buffer.clear()

    def sync(self) -> None:
        """Return when all is on the disk, in the file that has this name.

        The first one syncs in any case: what an earlier process wrote is not on the disk for being in the file.

        Raises:
            ClusterError: somebody has removed, replaced or changed the file, as an editor does: what is there now may
                lack records.
        """
        self._flush()
        if not self._is_on_disk:
            os.fsync(self._fd)
            self._is_on_disk = True
        if not self._is_ours():
            raise ClusterError(
                f"{self.path} was removed, replaced or changed by somebody while results were written to it, and may "
                "lack some now: the same command goes on, and runs again what is not in it"
            )

    def _is_ours(self) -> bool:
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return False
        return os.path.samestat(now, os.fstat(self._fd)) and now.st_size == self._size

    def cut(self, size: int) -> None:
        """Take off what is behind so many bytes."""
        os.ftruncate(self._fd, size)
        self._size = size
        os.fsync(self._fd)

    def drop(self, is_out: Callable[[Entry], bool], before: Callable[[], None]) -> None:
        """Take records out; `before` is called when the new file is complete and not in place yet."""
        self._flush()
        fd = os.open(self._new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(fd, stat.S_IMODE(os.fstat(self._fd).st_mode))
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with os.fdopen(os.dup(fd), "wb", _BUFFER_BYTES) as file:
                file.write(self.form.header)
                file.writelines(entry.raw for entry in self.read() if not is_out(entry))
            os.fsync(fd)
            before()
            self._new.replace(self.path)
        except BaseException:
            os.close(fd)
            self._new.unlink(missing_ok=True)
            raise
        sync_folder(self.path.parent)
        os.close(self._fd)
        # In place of the old one, which was opened to append.
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_APPEND)
        self._fd, self._size = fd, os.fstat(fd).st_size

    def close(self) -> None:
        """Unlock it; what was not synced may be lost."""
        os.close(self._fd)


def _open_locked(path: Path) -> int:
    is_new = not path.exists()
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ClusterError(f"{path} is no regular file; name another output")
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(fd), path.stat()):
            raise BlockingIOError  # somebody has just put another in its place, and has that one locked
        if is_new:
            sync_folder(path.parent)
    except BlockingIOError:
        os.close(fd)
        raise ClusterError(f"{path} is being written by another process: wait for it, or stop it") from None
    except BaseException:
        os.close(fd)
        raise
    return fd


def write_all(fd: int, content: bytes | bytearray) -> None:
    """Write all of it."""
    with memoryview(content) as view:
        written = 0
        while written < len(view):
            written += os.write(fd, view[written:])


def sync_folder(folder: Path) -> None:
    """Return when the names in a folder are on the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
