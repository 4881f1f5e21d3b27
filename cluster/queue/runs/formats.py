"""The formats of an output: a record as bytes, and bytes cut into records again."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from cluster.queue.runs.record import Record

# What each format's files begin with.
OPENINGS = (b'{"item":', b"item,", b"item\t")

_BEFORE = ("item",)
_AFTER = ("result", "exit", "attempts", "seconds", "host", "reason", "stderr")
_REASON = -2
# No field of ours is larger than what a 32-bit C long holds.
_LARGEST_FIELD = 2**31 - 1

_encode = json.JSONEncoder(ensure_ascii=False).encode
_decode = json.JSONDecoder().decode


class Entry(NamedTuple):
    """A record as it stands in an output: whose it is, why it failed, its bytes; `file` has its result in a folder."""

    number: int
    reason: str
    raw: bytes
    file: str = ""


class Format(Protocol):
    """The way in which records are written; `header` is what a file begins with."""

    header: bytes

    def encode(self, record: Record, file: str = "") -> bytes:
        """Return a record's bytes."""
        ...

    def pieces(self, file: Iterable[bytes]) -> Iterator[bytes]:
        """Cut the lines of a file into records; the last may be torn."""
        ...

    def parse(self, raw: bytes) -> Entry:
        """Read a record; ValueError says that it is none, or a part of one."""
        ...

    def may_be_torn(self, raw: bytes) -> bool:
        """Tell whether these bytes, at the end of a file, can be the beginning of a record."""
        ...

    def is_header(self, raw: bytes) -> bool:
        """Tell whether these bytes are a header, with these columns or others, and nothing more."""
        ...

    def item_of(self, raw: bytes) -> str:
        """Return the part of a whole record that is the item's: its input, or its columns."""
        ...

    def input_of(self, raw: bytes) -> bytes:
        """Return the input of a whole record; empty where it has columns instead."""
        ...


class JsonLines:
    """A line of JSON for each record; bytes that are not UTF-8 are in base64, under a name that says so.

    Without results it is the index of a folder, which names the file of each result.
    """

    header = b""
    _opening = OPENINGS[0]

    def __init__(self, with_results: bool = True) -> None:
        self._with_results = with_results

    def encode(self, record: Record, file: str = "") -> bytes:
        """Return a record's line."""
        fields: dict[str, Any] = {"item": record.number}
        _put_bytes(fields, "input", record.input)
        if record.columns:
            _put_columns(fields, record)
        if self._with_results:
            _put_bytes(fields, "result", record.result)
        elif file:
            fields["file"] = file
        fields["exit"] = record.exit
        fields["attempts"] = record.attempts
        fields["seconds"] = record.seconds
        fields["host"] = record.host
        if record.reason:
            fields["reason"] = record.reason
        if record.reason or record.stderr:
            fields["stderr"] = record.stderr
        # A lone surrogate becomes `\udcff`, which JSON has, too.
        return (_encode(fields) + "\n").encode("utf-8", "backslashreplace")

    def pieces(self, file: Iterable[bytes]) -> Iterator[bytes]:
        """Return the lines."""
        return iter(file)

    def parse(self, raw: bytes) -> Entry:
        """Read a record's line."""
        if not raw.endswith(b"\n"):
            raise ValueError("torn")
        try:
            fields = _decode(raw.decode())
            number, reason, file = fields["item"], fields.get("reason", ""), fields.get("file", "")
        except (TypeError, KeyError, RecursionError) as error:
            raise ValueError("no record") from error
        if type(number) is not int or not isinstance(reason, str) or "attempts" not in fields:
            raise ValueError("no record")
        if not isinstance(file, str) or "/" in file:
            raise ValueError("no file of the folder")
        return Entry(number, reason, raw, file)

    def may_be_torn(self, raw: bytes) -> bool:
        """Tell whether these bytes can be the beginning of a line."""
        return raw.startswith(self._opening) or self._opening.startswith(raw)

    def is_header(self, raw: bytes) -> bool:
        """Tell that there is none."""
        return False

    def item_of(self, raw: bytes) -> str:
        """Return what a line has of the item."""
        fields = _decode(raw.decode())
        return repr([fields.get(name) for name in ("input", "input_base64", "columns", "columns_base64")])

    def input_of(self, raw: bytes) -> bytes:
        """Return the input of a line."""
        fields = _decode(raw.decode())
        found = fields.get("input")
        return base64.b64decode(fields.get("input_base64", "")) if found is None else str(found).encode()


def _put_bytes(fields: dict[str, Any], name: str, value: bytes) -> None:
    try:
        fields[name] = value.decode()
    except UnicodeDecodeError:
        fields[f"{name}_base64"] = base64.b64encode(value).decode()


def _put_columns(fields: dict[str, Any], record: Record) -> None:
    """Put the columns; their texts have bytes that are not UTF-8 by surrogateescape, as file names have."""
    columns: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, value in record.columns.items():
        if value.isascii():
            columns[name] = value
        else:
            field: dict[str, Any] = {}
            _put_bytes(field, "value", value.encode("utf-8", "surrogateescape"))
            if "value" in field:
                columns[name] = value
            else:
                others[name] = field["value_base64"]
    if columns:
        fields["columns"] = columns
    if others:
        fields["columns_base64"] = others


class Separated:
    """A row of CSV or TSV for each record, below a row of names; Python's csv module reads back what it writes.

    Between `item` and `result` stand the named columns of the input, or `input` where it has none. A column that has
    the name of another is called `input_NAME`, with one more `input_` until no other has that name. Bytes that are
    not UTF-8 stay as they are: read them with `errors="surrogateescape"`. A newline at the end of a result or of STDERR
    is left out.
    """

    def __init__(self, delimiter: str, columns: Sequence[str]) -> None:
        self._delimiter = delimiter
        self._columns = tuple(columns)
        # The module quotes what the line's end has, and a lone CR must be quoted, too.
        self._write = csv.writer(_Echo(), delimiter=delimiter, lineterminator="\r\n").writerow
        names = [*_BEFORE, *_renamed(self._columns or ("input",)), *_AFTER]
        self._width = len(names)
        self.header = self._row(names)
        csv.field_size_limit(_LARGEST_FIELD)

    def encode(self, record: Record, file: str = "") -> bytes:
        """Return a record's row."""
        given = [record.columns.get(name, "") for name in self._columns] or [_text(record.input)]
        exit_code = "" if record.exit is None else record.exit
        result = _text(record.result.removesuffix(b"\n"))
        stderr = record.stderr.removesuffix("\n")
        after = (result, exit_code, record.attempts, record.seconds, record.host, record.reason, stderr)
        return self._row((record.number, *given, *after))

    def _row(self, fields: Sequence[object]) -> bytes:
        row: str = self._write(fields)  # what _Echo.write returns
        return (row[:-2] + "\n").encode("utf-8", "surrogateescape")

    def pieces(self, file: Iterable[bytes]) -> Iterator[bytes]:
        """Join the lines of each row: in a field that has begun, the quotes so far are an odd number."""
        lines: list[bytes] = []
        is_inside = 0
        for line in file:
            is_inside ^= line.count(b'"') & 1
            lines.append(line)
            if not is_inside:
                yield b"".join(lines)
                lines.clear()
        if lines:
            yield b"".join(lines)

    def parse(self, raw: bytes) -> Entry:
        """Read a record's row."""
        if not raw.endswith(b"\n") or raw.count(b'"') & 1:
            raise ValueError("torn")
        fields = self._fields(_text(raw[:-1]))
        if len(fields) != self._width or not (fields[0].isascii() and fields[0].isdecimal()):
            raise ValueError("no record")
        return Entry(int(fields[0]), fields[_REASON], raw)

    def _fields(self, row: str) -> list[str]:
        if '"' not in row:
            return row.split(self._delimiter)
        try:
            return next(csv.reader([row], delimiter=self._delimiter, strict=True))
        except csv.Error as error:
            raise ValueError("no row") from error

    def may_be_torn(self, raw: bytes) -> bool:
        """Tell whether these bytes can be the beginning of a row."""
        return raw[:1].isdigit()

    def is_header(self, raw: bytes) -> bool:
        """Tell whether these bytes are a row of names, as it was written for any columns."""
        if raw.count(b"\n") != 1 or not raw.endswith(b"\n"):
            return False
        try:
            names = tuple(self._fields(_text(raw[:-1])))
        except ValueError:
            return False
        return names[: len(_BEFORE)] == _BEFORE and names[-len(_AFTER) :] == _AFTER

    def item_of(self, raw: bytes) -> str:
        """Return what a row has of the item."""
        return repr(self._fields(_text(raw[:-1]))[len(_BEFORE) : -len(_AFTER)])

    def input_of(self, raw: bytes) -> bytes:
        """Return the input of a row."""
        if self._columns:
            return b""
        return self._fields(_text(raw[:-1]))[len(_BEFORE)].encode("utf-8", "surrogateescape")


class _Echo:
    """A file that hands back what is written, which `writerow` returns then."""

    def write(self, text: str) -> str:
        return text


def _renamed(columns: Sequence[str]) -> list[str]:
    taken = {*_BEFORE, *_AFTER}
    names = []
    for column in columns:
        name = column
        while name in taken or (name != column and name in columns):
            name = f"input_{name}"
        taken.add(name)
        names.append(name)
    return names


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")
