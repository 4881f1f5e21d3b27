"""A folder with a file for each result."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from cluster.queue.runs.numbers import Numbers
from cluster.queue.runs.record import Record
from cluster.queue.runs.record_file import sync_folder
from scripts.action.placeholders import LINE, NUMBER, Template
from scripts.errors import ClusterError

DRAFTS = ".drafts"

_LONGEST_BYTES = 200
_LONGEST_SUFFIX_BYTES = 20
# So many drafts are brought to the disk at once: a file system writes its journal once for all that wait then.
_AT_ONCE = 16


class ResultFiles:
    """The files of the results.

    A result is a draft in `.drafts/` until it is on the disk and its item in the index; then it gets its name. So a
    file with a name is never a part of one, and never one that the index does not know; drafts that are left over
    after a crash get their names if the index knows them, and are removed if not.
    """

    def __init__(self, folder: Path, name: str, columns: Sequence[str], total: int | None) -> None:
        self._folder = folder
        self._template = name_template(name, columns) if name else None
        self._width = len(str(total or 0))
        self._drafts_folder = folder / DRAFTS
        self._drafts_folder.mkdir(exist_ok=True)
        self._drafts: dict[str, str] = {}  # by the name that it gets
        self._threads = ThreadPoolExecutor(_AT_ONCE)

    def mend(self, done: Numbers) -> None:
        """Give drafts of an earlier process their names, or remove them."""
        for draft in list(self._drafts_folder.iterdir()):
            number, _, name = draft.name.partition(".")
            if number.isdecimal() and name:
                if int(number) in done:
                    draft.replace(self._folder / name)
                else:
                    draft.unlink()

    def put(self, record: Record) -> str:
        """Write a result as a draft, and return the name of its file; none is written of a failure without output."""
        if record.failed and not record.result:
            return ""
        name = self._name(record)
        while name in self._drafts or os.path.lexists(self._folder / name):
            name += f".{record.number}"
        draft = f"{self._drafts_folder}/{record.number}.{name}"
        with open(draft, "wb", buffering=0) as file:  # noqa: PTH123  # half the time of Path.open
            written = 0
            while written < len(record.result):
                written += file.write(record.result[written:])
        self._drafts[name] = draft
        return name

    def _name(self, record: Record) -> str:
        number = str(record.number).zfill(self._width)
        if self._template is None:
            return number
        columns = {name: os.fsencode(value) for name, value in record.columns.items()}
        by_position = {str(place): value for place, value in enumerate(columns.values(), start=1)}
        values = {**by_position, **columns, LINE: record.input, NUMBER: str(record.number).encode()}
        filled = self._template.fill({name: value.replace(b"\0", b"_") for name, value in values.items()})
        return safe_name(filled[1], number)

    def sync(self) -> None:
        """Return when all drafts are on the disk."""
        if self._drafts:
            for _ in self._threads.map(_sync_file, self._drafts.values()):
                pass  # an error of one is raised here
            sync_folder(self._drafts_folder)

    def name_drafts(self) -> None:
        """Give the drafts their names, once the index has their items on the disk."""
        for name, draft in self._drafts.items():
            os.rename(draft, self._folder / name)  # noqa: PTH104
        self._drafts.clear()

    def has(self, name: str) -> bool:
        """Tell whether the file of a result is there, and neither a folder nor a link to somewhere else."""
        path = self._folder / name
        return path.is_file() and not path.is_symlink()

    def remove(self, name: str) -> None:
        """Remove the file of a result."""
        if self.has(name):
            (self._folder / name).unlink()

    def close(self) -> None:
        """Return when the names are on the disk, too."""
        self._threads.shutdown()
        sync_folder(self._folder)
        with suppress(OSError):
            self._drafts_folder.rmdir()


def _sync_file(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def name_template(name: str, columns: Sequence[str]) -> Template:
    """Return how files are called, as `--name` says it; ClusterError where it cannot be so."""
    if "/" in name:
        raise ClusterError(f"--name {name!r}: a name of files, without /; they all stand in the folder of --output")
    template = Template(["", name])
    unknown = [each for each in template.names if each not in (LINE, NUMBER, *columns) and not each.isdecimal()]
    if unknown and columns:
        raise ClusterError(f"--name {name!r}: no column is called {unknown[0]!r}; there are {', '.join(columns)}")
    return template


def safe_name(name: bytes, otherwise: str) -> str:
    """Make a name of a file out of any bytes: no `/`, no control characters, none that is hidden, at most 200 bytes.

    What may not be in it becomes `_`; a long one is cut before its suffix; an empty one is `otherwise`.
    """
    name = re.sub(rb"[/\x00-\x1f\x7f]", b"_", name)
    if name.startswith(b"."):
        name = b"_" + name
    if len(name) > _LONGEST_BYTES:
        stem, dot, suffix = name.rpartition(b".")
        end = dot + suffix if stem and len(suffix) <= _LONGEST_SUFFIX_BYTES else b""
        name = name[: _LONGEST_BYTES - len(end)].decode("utf-8", "ignore").encode() + end
    return os.fsdecode(name) or otherwise
