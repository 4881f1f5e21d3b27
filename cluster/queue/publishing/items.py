"""An input cut into message bodies: bytes in, items out, nothing added and nothing lost but the separators.

A chunk of None means that nothing has come yet (a pipe whose other end is slow); it is passed on as None, so that
whoever takes the items never waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from scripts.errors import ClusterError

# The largest message that any RabbitMQ takes by default (16 MiB from 4.0 on); what is larger is never read whole.
MAX_BODY_BYTES = 128 * 1024 * 1024


class Item(NamedTuple):
    """A message to be: its bytes, the byte of the input it begins at (`offset`), and the next one's (`end`).

    `line` and `next_line` are the same in lines, `number` is which message it is; these count from 1. `file` is set
    when the input is a set of files.
    """

    body: bytes
    offset: int
    end: int
    line: int
    next_line: int
    number: int
    file: str = ""


# Makes an Item of a whole tuple, in half the time that Item() takes.
_made: Callable[[tuple[object, ...]], Item] = partial(tuple.__new__, Item)


@dataclass(frozen=True)
class Split:
    """The way an input is cut: a message for every `per_message` pieces between separators.

    With `takes_crlf` a CR before the separator belongs to the end of a line, as in files of Windows, not to the line.
    """

    separator: bytes = b"\n"
    per_message: int = 1
    skip_empty: bool = False
    takes_crlf: bool = False

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


def items(chunks: Iterable[bytes | None], split: Split, name: str, at: Position) -> Iterator[Item | None]:
    """Cut an input, whose bytes from `at` on are `chunks`, into messages."""
    offset, line, number, per_message = at.offset, at.line, at.number, split.per_message
    group: list[Item] = []
    no_part = b"\r" if split.takes_crlf else b""
    for pieces in _cut(chunks, split, name, line):
        if pieces is None:
            yield None
            continue
        for whole in pieces:
            begin, offset, line = offset, offset + len(whole) + 1, line + 1
            piece = whole.removesuffix(no_part)
            if not piece:
                _check_empty(split, name, line - 1)
            elif per_message == 1:
                yield _made((piece, begin, offset, line - 1, line, number, ""))
                number += 1
            else:
                group.append(Item(piece, begin, offset, line - 1, line, number))
                _check_size(offset - group[0].offset - 1, split, name, group[0].line)
                if len(group) == per_message:
                    yield _joined(group, split)
                    number += 1
                    group = []
    if group:
        yield _joined(group, split)


def _joined(group: list[Item], split: Split) -> Item:
    body = split.separator.join(piece.body for piece in group)
    return group[0]._replace(body=body, end=group[-1].end, next_line=group[-1].next_line)


def scan(
    chunks: Iterable[bytes], split: Split, name: str, check: Callable[[Item], None] | None = None
) -> tuple[int, int, int]:
    """Read an input through without keeping it, to find early what `items` would raise late, and what `check` does.

    Return how many messages it has, and of the largest its bytes and the line that it begins at.
    """
    messages = largest = largest_line = 0
    for item in items(chunks, split, name, Position()):
        assert item, "no chunk is None here"
        messages += 1
        if check:
            check(item)
        if len(item.body) > largest:
            largest, largest_line = len(item.body), item.line
    return messages, largest, largest_line


def _cut(chunks: Iterable[bytes | None], split: Split, name: str, line: int) -> Iterator[list[bytes] | None]:
    """Yield what stands between the separators; nothing after the last one is no piece. `line` is the first one's."""
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        if chunk is None:
            yield None
            continue
        *pieces, last = chunk.split(split.separator)
        size += len(pieces[0] if pieces else last)
        _check_size(size, split, name, line)
        if pieces:
            pieces[0] = b"".join((*parts, pieces[0]))
            yield pieces
            parts, size, line = [], len(last), line + len(pieces)
        parts.append(last)
    if size:
        yield [b"".join(parts)]


def _check_empty(split: Split, name: str, line: int) -> None:
    if not split.skip_empty:
        raise ClusterError(f"{name}: {split.place(line)} is empty; --skip-empty leaves empty {split.unit}s out")


def _check_size(size: int, split: Split, name: str, line: int) -> None:
    if size > MAX_BODY_BYTES:
        raise ClusterError(
            f"{name}: {split.place(line)} is larger than {MAX_BODY_BYTES // 1024**2} MiB; "
            "put its data in a file and publish the file's path"
        )
