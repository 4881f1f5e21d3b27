"""Columns of a run's lines, and the placeholders that name them: `{2}` by number, `{alpha}` by name."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from scripts.action.placeholders import LINE, NUMBER, Template, shell_text
from scripts.errors import ClusterError

SEPARATORS = {".csv": b",", ".tsv": b"\t"}

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# The most that Linux takes as one argument of a program (MAX_ARG_STRLEN), with the NUL at its end.
_LONGEST_ARGUMENT_BYTES = 128 * 1024 - 1
# The columns of an item travel in its headers, all of which have 128 KiB.
_ALL_VALUES_BYTES = 64 * 1024
_LONGEST_NAME_BYTES = 255

# Its default is less than a line may have.
csv.field_size_limit(2**31 - 1)


@dataclass(frozen=True)
class Columns:
    """The columns of lines: `names` are those of a header row, `used` the places of those that placeholders name."""

    separator: bytes
    names: tuple[str, ...]
    used: dict[str, int]

    def of(self, line: bytes) -> dict[str, bytes]:
        """Return the columns that placeholders name."""
        return self._used_of(fields(line, self.separator)) if self.used else {}

    def _used_of(self, values: list[bytes]) -> dict[str, bytes]:
        try:
            return {name: values[place] for name, place in self.used.items()}
        except IndexError:
            missing = next(name for name, place in self.used.items() if place >= len(values))
            there = "1 column" if len(values) == 1 else f"{len(values)} columns"
            raise ClusterError(f"has {there}, and none for {{{missing}}}") from None

    def named(self, line: bytes) -> dict[str, str]:
        """Return the columns that have a name; of several with the same name the first."""
        found: dict[str, str] = {}
        if self.names:
            for name, value in zip(self.names, fields(line, self.separator), strict=False):
                if name:
                    found.setdefault(name, _text(value))
        return found

    def check(self, line: bytes) -> None:
        """Refuse a line that cannot be cut into columns, or whose columns cannot fill the placeholders."""
        used = self._used_of(fields(line, self.separator))
        if b"\0" in line and (name := next((name for name, value in used.items() if b"\0" in value), None)):
            raise ClusterError(f"has a NUL byte in the column for {{{name}}}: no argument and no name can have one")
        if len(line) > _ALL_VALUES_BYTES and sum(map(len, used.values())) > _ALL_VALUES_BYTES:
            raise ClusterError(
                f"has more than {_ALL_VALUES_BYTES // 1024} KiB in the columns that placeholders name: leave the "
                "largest out, and read it from the line on STDIN"
            )


def fields(line: bytes, separator: bytes) -> list[bytes]:
    """Cut a line into its columns, with the quotes of CSV where these are not parted by tabs."""
    if separator == b"\t" or b'"' not in line:
        return line.split(separator)
    reader = csv.reader([line.decode("latin-1")], delimiter=separator.decode("latin-1"), strict=True)
    try:
        return [field.encode("latin-1") for field in next(reader)]
    except csv.Error as error:
        if "end of data" in str(error):
            raise ClusterError("has a quote that is not closed: no value may have a line end in it") from error
        raise ClusterError(f"is no line of CSV: {error}") from error


def header_names(line: bytes, separator: bytes) -> tuple[str, ...]:
    """Return the names in a header row."""
    return tuple(map(_text, fields(line.removeprefix(BYTE_ORDER_MARK), separator)))


def places(wanted: Sequence[str], names: Sequence[str]) -> dict[str, int]:
    """Return where the columns stand that placeholders name, among the `names` of a header row.

    What is neither a number nor like a name of a variable, and no column either, is the action's own: `{print $1}`.
    """
    found = {name: int(name) - 1 for name in wanted if is_number(name)}
    if zero := next((name for name, place in found.items() if place < 0), ""):
        raise ClusterError(f"{{{zero}}} is no column: they count from {{1}}")
    for name in wanted:
        if name in found or name in (LINE, NUMBER):
            continue
        if name in names:
            found[name] = _place(name, names)
        elif name.isidentifier():
            there = ", ".join(map(repr, names[:20])) + (" ..." if len(names) > 20 else "")
            raise ClusterError(
                f"has no column for {{{name}}}, but {there}; braces that are no placeholder get a space: {{ {name} }}"
            )
    return found


def _place(name: str, names: Sequence[str]) -> int:
    if names.count(name) > 1:
        raise ClusterError(
            f"has {names.count(name)} columns called {name!r}: use a number for it, as {{1}}, and not {{{name}}}"
        )
    if len(name.encode(errors="replace")) > _LONGEST_NAME_BYTES or "\udc80" <= max(name) <= "\udcff":
        raise ClusterError(f"has a name that is too long or no UTF-8, {name[:80]!r}: use a number for it, as {{1}}")
    return names.index(name)


def check_name(name: str, names: Sequence[str]) -> None:
    """Refuse a number in `--name` that counts columns of a header row which a record does not have by a name."""
    for each in filter(is_number, Template(["", name]).names):
        before = names[: int(each)]
        if "" in before or len({*before}) < len(before):
            raise ClusterError(
                f"has a column without a name, or with another's, up to {{{each}}} of --name: use a name there"
            )


def is_number(name: str) -> bool:
    """Tell whether a placeholder names a column by its number."""
    return name.isascii() and name.isdigit()


def is_column(name: str) -> bool:
    """Tell whether a placeholder can only be meant as a column, by its number or by a name of a header row."""
    return is_number(name) or name.isidentifier()


def separator_of(file: str, colsep: str | None, placeholder: str) -> bytes:
    r"""Return the byte between columns: `colsep` (`\t` is a tab), else by the file's name.

    `placeholder` is one that needs columns, for the error; empty where a header row does.
    """
    if colsep is None:
        if found := SEPARATORS.get(PurePath(file).suffix.lower()):
            return found
        needed = f"{{{placeholder}}} is a column" if placeholder else "--header-row is of columns"
        raise ClusterError(
            rf"{needed}: say with --colsep what stands between them, such as ',' or '\t' (known of .csv and .tsv)"
        )
    separator = b"\t" if colsep == r"\t" else colsep.encode(errors="surrogateescape")
    if len(separator) != 1 or separator in b'"\r\n\0':
        raise ClusterError(rf"--colsep {colsep!r}: give one character, such as ',' or ';' or '\t'")
    return separator


def check_line(line: bytes) -> None:
    """Refuse a line that cannot be an argument, where the action has the placeholder for the whole line."""
    if b"\0" in line:
        raise ClusterError("has a NUL byte: {} in the action is an argument, which can have none; leave {} out")
    if len(line) > _LONGEST_ARGUMENT_BYTES:
        raise ClusterError(f"is longer than an argument may be ({_LONGEST_ARGUMENT_BYTES:,} bytes): leave {{}} out")


def check_action(action: Sequence[str]) -> None:
    """Refuse placeholders where a value would be a program, or be read by a shell as a part of one."""
    if name := _ours(action[:1]):
        raise ClusterError(f"{name} is the action's first word: name a program there, and placeholders behind it")
    for place, word in enumerate(action):
        text = shell_text(action[place:])
        if text is not None and (name := _ours([action[place + text]])):
            raise ClusterError(
                f"{name} in a program's text for {PurePath(word).name}, which would read the value as a part of it: "
                f"write it as {word} -c '... \"$1\" ...' {word} {name}"
            )


def _ours(words: Sequence[str]) -> str:
    """Return the first placeholder for an item in some words, with its braces; empty where none is."""
    found = (name for word in words for name in Template(["", word]).names)
    return next((f"{{{name}}}" for name in found if name in (LINE, NUMBER) or is_column(name)), "")


def _text(value: bytes) -> str:
    return value.decode(errors="surrogateescape")
