"""Records that came before their turn, on the disk: of each, only where it stands is in memory."""

from __future__ import annotations

import os
import struct
import zlib
from array import array
from collections.abc import Iterator
from pathlib import Path

from cluster.queue.runs.record_file import sync_folder, write_all

_BUFFER_BYTES = 256 * 1024
# Before each record: its place, how many bytes it has, and their checksum, which finds what a loss of power tore.
_HEAD = struct.Struct(">QII")
_FIRST_READ_BYTES = 4096
_NONE = -1


class Early:
    """The file `PATH.early`, which is there only while records wait; `count` is how many do.

    The lock on PATH is its lock, too.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._forget()

    def _forget(self) -> None:
        self._fd: int | None = None
        self._buffer = bytearray()
        self._size = 0
        self._is_on_disk = True
        self._offsets = array("q")
        self.count = 0

    def read(self, first: int = 0) -> Iterator[tuple[int, bytes]]:
        """Read the file anew: yield the records from a place on, each with its place; cut off what is torn."""
        self._close()
        self._forget()
        if not self.path.exists():
            return
        self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        self._is_on_disk = False
        with os.fdopen(os.dup(self._fd), "rb") as file:
            while (head := file.read(_HEAD.size)) and len(head) == _HEAD.size:
                place, length, checksum = _HEAD.unpack(head)
                raw = file.read(length)
                if len(raw) != length or zlib.crc32(raw) != checksum:
                    break
                offset, self._size = self._size, self._size + len(head) + length
                if place >= first:
                    self._note(place, offset)
                    yield place, raw
        os.ftruncate(self._fd, self._size)

    def _note(self, place: int, offset: int) -> None:
        missing = place + 1 - len(self._offsets)
        if missing > 0:
            self._offsets.extend(array("q", (_NONE,)) * missing)
        self.count += self._offsets[place] == _NONE
        self._offsets[place] = offset

    def put(self, place: int, raw: bytes) -> None:
        """Keep a record until its turn."""
        self._note(place, self._size + len(self._buffer))
        self._buffer += _HEAD.pack(place, len(raw), zlib.crc32(raw))
        self._buffer += raw
        if len(self._buffer) >= _BUFFER_BYTES:
            self._flush()

    def pop(self, place: int) -> bytes | None:
        """Return the record of a place, None where it has not come; it stays in the file until all have left."""
        raw = self.peek(place)
        if raw is not None:
            self._offsets[place] = _NONE
            self.count -= 1
            if not self.count and not self._size:
                self._buffer.clear()
        return raw

    def peek(self, place: int) -> bytes | None:
        """Return the record of a place, and leave it there."""
        if place >= len(self._offsets) or self._offsets[place] == _NONE:
            return None
        offset = self._offsets[place]
        if offset >= self._size:
            begin = offset - self._size
            _, length, _ = _HEAD.unpack_from(self._buffer, begin)
            return bytes(self._buffer[begin + _HEAD.size : begin + _HEAD.size + length])
        assert self._fd is not None
        raw = os.pread(self._fd, _FIRST_READ_BYTES, offset)
        _, length, _ = _HEAD.unpack_from(raw)
        end = _HEAD.size + length
        while len(raw) < end:
            more = os.pread(self._fd, end - len(raw), offset + len(raw))
            if not more:
                raise OSError(0, "the file has become shorter", str(self.path))
            raw += more
        return raw[_HEAD.size : end]

    def all(self) -> Iterator[tuple[int, bytes]]:
        """Yield the records that wait, each with its place, in their order."""
        for place in range(len(self._offsets)):
            if (raw := self.peek(place)) is not None:
                yield place, raw

    def sync(self) -> None:
        """Return when those that wait are on the disk; where none does, the file is emptied.

        What was taken out must be on the disk elsewhere by then.
        """
        if self.count:
            self._flush()
            if not self._is_on_disk and self._fd is not None:
                os.fsync(self._fd)
                self._is_on_disk = True
        else:
            self._buffer.clear()
            if self._fd is not None and self._size:
                os.ftruncate(self._fd, 0)
                self._size = 0

    def _flush(self) -> None:
        if not self._buffer:
            return
        if self._fd is None:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            sync_folder(self.path.parent)
        write_all(self._fd, self._buffer)
        self._is_on_disk = False
        self._size += len(self._buffer)
        self._buffer.clear()

    def replace(self, target: Path) -> None:
        """Put the file in another's place."""
        self._flush()
        if self._fd is not None:
            os.fsync(self._fd)
            self.path.replace(target)
        else:
            target.unlink(missing_ok=True)
        sync_folder(target.parent)

    def remove(self) -> None:
        """Remove the file with all that is in it."""
        self._close()
        self._forget()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file, and remove it where nothing is in it."""
        if self._fd is not None and not self._size:
            self.path.unlink()
        self._close()

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
