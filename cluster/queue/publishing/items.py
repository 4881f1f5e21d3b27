"""An input cut into message bodies: bytes in, items out, nothing added and nothing lost but the separators.

A chunk of None means that nothing has come yet (a pipe whose other end is slow); it is passed on as None, so that
whoever takes the items never waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from scripts.errors import ClusterError

# The largest message that any RabbitMQ takes by default (16 MiB from 4.0 on); what is larger is never read whole.
MAX_BODY_BYTES = 128 * 1024 * 1024


class Item(NamedTuple):
    """A message to be: its bytes, the byte of the input it begins at (`offset`), and the next one's (`end`).

    `line` and `next_line` are the same in lines, `number` is which message it is; these count from 1. `file` is set
    when the input is a set of files.
    """

    id: str
    body: bytes
    offset: int
    end: int
    line: int
    next_line: int
    number: int
    file: str = ""


@dataclass(frozen=True)
class Split:
    """The way an input is cut: a message for every `per_message` pieces between separators."""

    separator: bytes = b"\n"
    per_message: int = 1
    skip_empty: bool = False

    @property
    def unit(self) -> str:
        """The name of a piece."""
        return "line" if self.separator == b"\n" else "record"

    def place(self, line: int) -> str:
        """Return the name of the piece of this number."""
        return f"{self.unit} {line:,}"


@dataclass(frozen=True)
class Position:
    """The place in an input where a message begins; `line` and `number` count from 1."""

    offset: int = 0
    line: int = 1
    number: int = 1


@dataclass(frozen=True)
class Scan:
    """The findings of a first reading: how many messages, and the largest of them with the line it begins at."""

    messages: int
    largest_bytes: int
    largest_line: int


def items(chunks: Iterable[bytes | None], split: Split, name: str, prefix: str, at: Position) -> Iterator[Item | None]:
    """Cut an input, whose bytes from `at` on are `chunks`, into messages.

    Ids are `prefix` and the offset: the same bytes at the same place have the same id, however often they are sent.

    Raises:
        ClusterError: an empty piece (unless skipped) or one over MAX_BODY_BYTES, with `name` and its line.
    """
    found = _pieces(chunks, split, name, prefix, at)
    return found if split.per_message == 1 else _grouped(found, split, name, at.number)


def scan(chunks: Iterable[bytes], split: Split, name: str) -> Scan:
    """Read an input through without keeping it, to find early what `items` would raise late.

    Raises:
        ClusterError: as `items`.
    """
    messages = largest = largest_line = held = size = begin = 0
    for line, piece in enumerate(_cut(chunks, split, name, 1), start=1):
        if not piece:
            _check_empty(split, name, line)
            continue
        if not held:
            begin, size = line, -1
            messages += 1
        size += len(piece) + 1  # no chunk is None here
        held = (held + 1) % split.per_message
        if size > largest:
            largest, largest_line = size, begin
            _check_size(size, split, name, begin)
    return Scan(messages, largest, largest_line)


def _pieces(
    chunks: Iterable[bytes | None], split: Split, name: str, prefix: str, at: Position
) -> Iterator[Item | None]:
    offset, line, number = at.offset, at.line, at.number
    for piece in _cut(chunks, split, name, line):
        if piece is None:
            yield None
            continue
        end = offset + len(piece) + 1
        if piece:
            yield Item(f"{prefix}-{offset}", piece, offset, end, line, line + 1, number)
            number += 1
        else:
            _check_empty(split, name, line)
        offset = end
        line += 1


def _grouped(pieces: Iterable[Item | None], split: Split, name: str, number: int) -> Iterator[Item | None]:
    held: list[Item] = []
    size = 0
    for piece in pieces:
        if piece is None:
            yield None
            continue
        held.append(piece)
        size += len(piece.body) + 1
        _check_size(size - 1, split, name, held[0].line)
        if len(held) == split.per_message:
            yield _joined(held, split, number)
            held, size, number = [], 0, number + 1
    if held:
        yield _joined(held, split, number)


def _joined(held: list[Item], split: Split, number: int) -> Item:
    first, last = held[0], held[-1]
    body = split.separator.join(piece.body for piece in held)
    return Item(first.id, body, first.offset, last.end, first.line, last.next_line, number)


def _cut(chunks: Iterable[bytes | None], split: Split, name: str, line: int) -> Iterator[bytes | None]:
    """Yield what stands between the separators; nothing after the last one is no piece. `line` is the first one's."""
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        if chunk is None:
            yield None
            continue
        first, *others = chunk.split(split.separator)
        parts.append(first)
        size += len(first)
        _check_size(size, split, name, line)
        if others:
            yield b"".join(parts)
            last = others.pop()
            yield from others
            parts, size, line = [last], len(last), line + len(others) + 1
    if size:
        yield b"".join(parts)


def _check_empty(split: Split, name: str, line: int) -> None:
    if not split.skip_empty:
        raise ClusterError(f"{name}: {split.place(line)} is empty; --skip-empty leaves empty {split.unit}s out")


def _check_size(size: int, split: Split, name: str, line: int) -> None:
    if size > MAX_BODY_BYTES:
        raise ClusterError(
            f"{name}: {split.place(line)} is larger than {MAX_BODY_BYTES // 1024**2} MiB; "
            "put its data in a file and publish the file's path"
        )
