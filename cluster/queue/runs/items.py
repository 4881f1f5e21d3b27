"""The items of a run: lines of a file, or files. They can be read again from any place, and each line's columns."""

from __future__ import annotations

import hashlib
import json
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from cluster.queue.publishing.items import Item, Position, Split
from cluster.queue.publishing.sources import Source, file_set, text_file
from cluster.queue.runs import columns as column_rules
from cluster.queue.runs import spool as spooling
from cluster.queue.runs.columns import BYTE_ORDER_MARK, Columns, is_column
from cluster.queue.runs.shell_words import typed
from cluster.settings_files import Say
from cluster.terminal import counted
from scripts.action.placeholders import LINE, NUMBER, Template
from scripts.errors import ClusterError


class RunItem(NamedTuple):
    """An item: its bytes, where these stand in the source, its line (from 1), and its place among the items (from 0).

    `end` and `next_line` are where the next one begins. Of files `number` and `next_line` count these.
    """

    body: bytes
    offset: int
    length: int
    number: int
    place: int
    end: int
    next_line: int


# Makes a RunItem of a whole tuple, in half the time that RunItem() takes.
_made: Callable[[tuple[object, ...]], RunItem] = partial(tuple.__new__, RunItem)


@dataclass(frozen=True)
class Items:
    """The items of a run, all of them checked; `digest` changes with their bytes and with what cuts them.

    `lines`: the file that has them, as it was then; None where each is a file, of which `paths` are the bodies or not.
    `first` is where they begin, behind a header row or a byte order mark, and `last` the number of the last one; of
    the template's words the first `words` are the action's.
    """

    source: Source
    template: Template
    digest: str
    columns: Columns | None = None
    first: Position = field(default_factory=Position)
    last: int = 0
    lines: os.stat_result | None = None
    paths: bool = False
    words: int | None = None

    @property
    def name(self) -> str:
        """The source, as a person named it."""
        return self.source.name

    @property
    def path(self) -> str:
        """The file, or the pattern of files."""
        return self.source.path

    @property
    def total(self) -> int:
        """The number of items."""
        return (self.source.messages or 0) - (1 if self.columns and self.columns.names else 0)

    @property
    def numbers(self) -> range:
        """The numbers that items may have; where empty lines are left out, not all are an item's."""
        return range(self.first.line, self.last + 1)

    @property
    def size(self) -> int:
        """The bytes of the file, or of all files."""
        return self.source.size

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names in the header row, each once; none without one."""
        return tuple(dict.fromkeys(filter(None, self.columns.names))) if self.columns else ()

    def start(self, at: Position) -> Iterator[RunItem]:
        """Return the items from a position on, as they are asked for."""
        if self.paths:
            return map(self._path_item, range(at.offset, self.total))
        return self._read(at if at.offset >= self.first.offset else self.first)

    def _read(self, at: Position) -> Iterator[RunItem]:
        for item in self.source.start(at):
            assert item, "a file has no pauses"
            body, offset, end, line, next_line, number, _ = item
            yield _made((body, offset, len(body), line, number - 1, end, next_line))

    def _path_item(self, place: int) -> RunItem:
        body = self._file(place)
        return RunItem(body, place, len(body), place + 1, place, place + 1, place + 2)

    def _file(self, place: int) -> bytes:
        return os.fsencode(Path(self.source.place(place + 1)).absolute())

    def input_of(self, offset: int, length: int) -> bytes:
        """Return an item's bytes, read from the source again; of a file its path."""
        if not self.lines:
            return self._file(offset)
        try:
            now = os.stat(self.path)  # noqa: PTH116  (pathlib takes several times as long)
            found = os.pread(self._descriptor, length, offset)
        except OSError as error:
            raise ClusterError(f"{self.name}: {(error.strerror or str(error)).lower()}") from error
        if (now.st_size, now.st_mtime_ns) != (self.lines.st_size, self.lines.st_mtime_ns) or len(found) < length:
            raise ClusterError(f"{self.name} has changed since its items were published; put back what it was")
        return found

    @cached_property
    def _descriptor(self) -> int:
        """The open file of lines: opening it for each result would be most of the work of reading an item."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, descriptor)
        return descriptor

    def columns_of(self, line: bytes) -> dict[str, bytes]:
        """Return the columns that the action's placeholders name."""
        return self.columns.of(line) if self.columns else {}

    def named(self, line: bytes) -> dict[str, str]:
        """Return the columns that a header row has names for, else those that placeholders name by their numbers.

        Bytes that are no UTF-8 become lone surrogates.
        """
        if self.columns is None:
            return {}
        if self.columns.names:
            return self.columns.named(line)
        return {name: os.fsdecode(value) for name, value in self.columns.of(line).items()}

    def commands(self, most: int = 3) -> list[str]:
        """Return the first filled commands, as a person would type them."""
        return [
            " ".join(map(typed, self.template.fill(self._values(item))[: self.words]))
            for item in islice(self.start(Position()), most)
        ]

    def _values(self, item: RunItem) -> dict[str, bytes]:
        return {LINE: item.body, NUMBER: b"%d" % item.number, **self.columns_of(item.body)}


def chosen_items(
    file: str, files: str, *, contents: bool, null: bool, skip_empty: bool, colsep: str | None, header_row: bool,
    action: Sequence[str], spool: Path, say: Say, name: str = "",
) -> Items:  # fmt: skip
    """Return the items that the flags of a command line name, after all of them were read once and checked.

    A pipe or STDIN (`-`) is copied to `spool`, and that is taken where it is there already. `name`, of the file for a
    result, may have placeholders too.
    """
    if bool(file) == bool(files):
        raise ClusterError("give one of --file PATH (- is STDIN) and --files 'PATTERN'")
    column_rules.check_action(action)
    if files:
        of_lines = [
            flag for flag, given in (("--null", null), ("--colsep", colsep), ("--header-row", header_row)) if given
        ]
        if of_lines:
            raise ClusterError(f"{of_lines[0]} says how the lines of --file are read; give --file")
        return replace(_of_files(files, action, name, contents, skip_empty), words=len(action))
    if contents:
        raise ClusterError("--contents makes a file's bytes the item: it needs --files 'PATTERN'")
    split = Split(b"\0" if null else b"\n", skip_empty=skip_empty, takes_crlf=not null)
    cut = _Cut(file, action, name, split, colsep, header_row)
    items = _of_pipe(cut, spool, say) if spooling.is_pipe(file) else cut.items_of(file, file)
    return replace(items, words=len(action))


def _template(action: Sequence[str], name: str) -> Template:
    return Template([*action, name] if name else action)


def _of_files(pattern: str, action: Sequence[str], file_name: str, contents: bool, skip_empty: bool) -> Items:
    template = _template(action, file_name)
    if name := next(filter(is_column, template.names), ""):
        raise ClusterError(f"{{{name}}} is a column of a line: it needs --file; {{}} is a file's path")
    if contents and LINE in Template(action).names:
        raise ClusterError(
            "{} in the action is a file's path: leave --contents out, or {}, and read the bytes from STDIN"
        )
    source = file_set(pattern, skip_empty, by_path=not contents)
    digest = _digest(source, contents=contents, skip_empty=skip_empty)
    return Items(source, template, digest, last=source.messages or 0, paths=not contents)


def _of_pipe(cut: _Cut, spool: Path, say: Say) -> Items:
    """Return the items of a pipe, from the copy of it; what is refused leaves no new one behind."""
    name = "STDIN" if cut.file == "-" else cut.file
    is_new = not spool.exists()
    if is_new:
        spooling.keep(cut.file, spool, say)
    elif spooling.has_changed(cut.file, spool, say):
        raise ClusterError(
            f"{name} has other items than the first time, which are in {spool}: give the same, or nothing "
            "(</dev/null), to go on with those; --restart begins anew with the new ones"
        )
    else:
        say(f"{name} was read before: what came from it is in {spool}")
    try:
        items = cut.items_of(str(spool), name)
    except BaseException:
        if is_new:
            spool.unlink()
        raise
    say(f"{name} has {counted(items.total, 'item')}")
    return items


class _Cut:
    """The way that a file is cut into items and columns; each line is checked in the first pass over it."""

    def __init__(
        self, file: str, action: Sequence[str], name: str, split: Split, colsep: str | None, header_row: bool
    ) -> None:
        self.file = file
        self._template = _template(action, name)
        self._name = name
        self._split = split
        needs = next(filter(is_column, self._template.names), "")
        self._has_header = header_row or any(name.isidentifier() for name in self._template.names)
        self._separator = column_rules.separator_of(file, colsep, needs) if needs or header_row else b""
        self._fills_lines = LINE in Template(action).names
        self._columns: Columns | None = None
        self._first = Position()
        self._last = 0

    def items_of(self, path: str, name: str) -> Items:
        """Return the items of a file, which errors call by a `name`."""
        if self._separator and not self._has_header:
            self._columns = Columns(self._separator, (), column_rules.places(self._template.names, ()))
        lines = Path(path).stat() if Path(path).is_file() else None  # where it is not, the next line says why
        source = text_file(path, self._split, partial(self._check, name), name)
        digest = _digest(
            source, null=self._split.separator == b"\0", skip_empty=self._split.skip_empty,
            colsep=self._separator.decode("latin-1"), header_row=self._has_header,
        )  # fmt: skip
        items = Items(source, self._template, digest, self._columns, self._first, self._last, lines)
        if not items.total and not self._split.skip_empty:
            raise ClusterError(f"{name} has nothing but its header row; --skip-empty allows that")
        return items

    def _check(self, name: str, item: Item) -> None:
        self._last = item.line
        try:
            if self._has_header and not self._columns:
                self._read_header(item)
                return
            body = self._without_mark(item)
            if self._columns:
                self._columns.check(body)
            if self._fills_lines:
                column_rules.check_line(body)
        except ClusterError as error:
            raise ClusterError(f"{name}: {self._split.place(item.line)} {error}") from error

    def _without_mark(self, item: Item) -> bytes:
        """Return an item's bytes; of these the mark that programs of Windows put before a text is none."""
        if item.offset or not (self._split.takes_crlf and item.body.startswith(BYTE_ORDER_MARK)):
            return item.body
        if item.body == BYTE_ORDER_MARK:
            raise ClusterError("has a byte order mark and nothing more: delete that line")
        self._first = Position(len(BYTE_ORDER_MARK))
        return item.body.removeprefix(BYTE_ORDER_MARK)

    def _read_header(self, item: Item) -> None:
        names = column_rules.header_names(item.body, self._separator)
        self._columns = Columns(self._separator, names, column_rules.places(self._template.names, names))
        column_rules.check_name(self._name, names)
        self._first = Position(item.end, item.next_line)


def _digest(source: Source, **shaping: bool | str) -> str:
    return hashlib.sha256(json.dumps([source.digest, shaping]).encode()).hexdigest()
