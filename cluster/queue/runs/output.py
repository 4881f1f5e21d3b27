"""The output of a run: a record for each item, whatever comes twice and whenever this process is killed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from cluster.queue.runs.failures import Failures
from cluster.queue.runs.folder import DRAFTS, ResultFiles, name_template
from cluster.queue.runs.formats import OPENINGS, Entry, Format, JsonLines, Separated
from cluster.queue.runs.numbers import Numbers
from cluster.queue.runs.order import AsTheyCome, ByPlace, Records, early_path
from cluster.queue.runs.record import Record
from cluster.queue.runs.record_file import RecordFile
from scripts.errors import ClusterError

_FORMATS: dict[str, Callable[[Sequence[str]], Format]] = {
    ".jsonl": lambda _: JsonLines(),
    ".csv": lambda columns: Separated(",", columns),
    ".tsv": lambda columns: Separated("\t", columns),
}

_INDEX = "index.jsonl"
_LONGEST_HEADER_BYTES = 1024 * 1024

ANY_NUMBER = range(1, 2**63)


def open_output(
    path: str, *, name: str = "", keep_order: bool = False, columns: Sequence[str] = (), total: int | None = None,
    numbers: range = ANY_NUMBER,
) -> Output:  # fmt: skip
    """Open the output of a run, new or begun.

    A folder ends in `/`, or is there; a result is a file in it then, called by its item's number, or by `name`, in
    which `{}` is the item's line, `{#}` its number, and `{2}` or `{alpha}` one of its columns. `columns` are the names
    of those that items have, `total` is how many items there are, as far as it is known. With `keep_order` the records
    are in the order of the items. A record of an item that has none of these `numbers` is refused.
    """
    is_folder = check_output(path, name, columns)
    try:
        if is_folder:
            return _open_folder(Path(path), name, keep_order, columns, total, numbers)
        return Output(path, _records(Path(path), _FORMATS[_suffix(path)](columns), keep_order), numbers)
    except OSError as error:
        raise _unwritable(path, error) from error


def check_output(path: str, name: str, columns: Sequence[str]) -> bool:
    """Refuse a path that names no format, and a `name` of files that cannot be; return whether it is a folder's."""
    is_folder = path.endswith("/") or bool(path and Path(path).is_dir())
    if not is_folder and not _suffix(path):
        raise ClusterError(
            f"--output {path!r}: the end of the name says the format: .jsonl, .csv, .tsv, or / for a folder"
        )
    if name and not is_folder:
        raise ClusterError(f"--name {name!r} is for files in a folder, and --output {path!r} is one file")
    if name:
        name_template(name, columns)
    return is_folder


def _suffix(path: str) -> str:
    return next((each for each in _FORMATS if path.endswith(each)), "")


def _open_folder(
    folder: Path, name: str, keep_order: bool, columns: Sequence[str], total: int | None, numbers: range
) -> Output:
    folder.mkdir(parents=True, exist_ok=True)
    records = _records(folder / _INDEX, JsonLines(with_results=False), keep_order)
    try:
        files = ResultFiles(folder, name, columns, total)
    except BaseException:
        records.close()
        raise
    return Output(str(folder), records, numbers, files)


def _records(path: Path, form: Format, keep_order: bool) -> Records:
    records = RecordFile(path, form)
    return ByPlace(records) if keep_order else AsTheyCome(records)


class Output:
    """An open and locked output; `done` are the items that have a record, of which `failures` have failed.

    Whatever the disk refuses is a ClusterError, and ends it: nothing is written any longer. What was synced before is
    kept; what was not is no longer there, or found in the output when it is opened again.
    """

    def __init__(self, path: str, records: Records, numbers: range, files: ResultFiles | None = None) -> None:
        self.path = path
        self.done = Numbers()
        self.failures = Failures()
        self._records = records
        self._numbers = numbers
        self._files = files
        self._waiting: list[tuple[int, bytes]] = []  # for their files to be on the disk
        self._error: ClusterError | None = None
        self.lost = 0  # results whose files are gone
        try:
            self._read()
            if files:
                files.mend(self.done)
                self._drop_lost(files)
        except BaseException:
            records.close()
            raise

    def _read(self) -> None:
        for entry in self._records.read(self.done, self._wrong):
            if entry.number not in self.done:
                self.done.add(entry.number)
                if entry.reason:
                    self.failures.add(entry.number, entry.reason)

    def _wrong(self, number: int) -> str:
        """Say why there can be no record of an item's number: somebody has edited the file."""
        if number not in self._numbers:
            return f"the run has no item {number:,}"
        return f"item {number:,} has a record already" if number in self.done else ""

    def _drop_lost(self, files: ResultFiles) -> None:
        """Take out what the index has of files that somebody has deleted."""
        lost = {entry.number for entry in self._records.entries() if entry.file and not files.has(entry.file)}
        if lost:
            self.lost = len(lost)
            self._drop(lambda entry: entry.number in lost)

    def _drop(self, is_out: Callable[[Entry], bool], before: Callable[[], None] = lambda: None) -> None:
        self._records.drop(is_out, before)
        self.done.clear()
        self.failures.clear()
        self._read()
        self._records.sync()

    @property
    def failed(self) -> int:
        """The number of items that have failed."""
        return self.failures.count

    def write(self, record: Record) -> bool:
        """Add a record, and return True; False where the item has one already. On the disk it is after `sync`."""
        if record.number in self.done:
            return False
        self._check()
        try:
            file = self._files.put(record) if self._files else ""
            raw = self._records.form.encode(record, file)
            if self._files:
                self._waiting.append((record.place, raw))
            else:
                self._records.put(record.place, raw)
        except OSError as error:
            self._end(error)
        self.done.add(record.number)
        if record.reason:
            self.failures.add(record.number, record.reason)
        return True

    def sync(self) -> None:
        """Return when all that was written is on the disk."""
        self._check()
        try:
            if self._files:
                self._files.sync()
            for place, raw in self._waiting:
                self._records.put(place, raw)
            self._waiting.clear()
            self._records.sync()
            if self._files:
                self._files.name_drafts()
        except (OSError, ClusterError) as error:
            self._end(error)

    def inputs(self) -> set[bytes]:
        """Return the inputs of all items, where they have any."""
        return {found for one in self._records.entries() if (found := self._records.form.input_of(one.raw))}

    def first_changed(self, items: Iterable[Record]) -> int | None:
        """Return the first item that has succeeded and is not the same any more among `items`, or not there.

        Of these, all there are now, only the input and its columns count.
        """
        form = self._records.form
        known = {one.number: hash(form.item_of(one.raw)) for one in self._records.entries() if not one.reason}
        changed = {
            item.number for item in items
            if item.number in known and known.pop(item.number) != hash(form.item_of(form.encode(item)))
        }  # fmt: skip
        return min((*changed, *known), default=None)

    def drop_failed(self) -> int:
        """Take out the records of failed items, so that these can be run again; return how many they were."""
        self.sync()
        count = self.failed
        try:
            self._drop(lambda entry: bool(entry.reason), self._remove_files_of_failed)
        except (OSError, ClusterError) as error:
            self._end(error)
        return count

    def _remove_files_of_failed(self) -> None:
        self.remove_files(lambda entry: bool(entry.reason))

    def remove_files(self, of: Callable[[Entry], bool] = lambda _: True) -> None:
        """Remove the files of results from the folder."""
        for entry in self._records.entries() if self._files else ():
            if self._files and entry.file and of(entry):
                self._files.remove(entry.file)

    def _check(self) -> None:
        if self._error:
            raise self._error

    def _end(self, error: OSError | ClusterError) -> NoReturn:
        self._error = _unwritable(self.path, error) if isinstance(error, OSError) else error
        raise self._error from error

    def close(self) -> None:
        """Sync and unlock it."""
        try:
            if not self._error:
                self.sync()
        finally:
            self._records.close()
        if self._files and not self._error:
            self._files.close()

    def __enter__(self) -> Output:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()


def is_bare(path: str) -> bool:
    """Tell whether an output is not there, or has nothing but what is in it before its first record."""
    place = Path(path)
    try:
        if place.is_dir():
            found = {each.name: each for each in place.iterdir()}
            index, drafts = found.pop(_INDEX, None), found.pop(DRAFTS, None)
            return not (found or (index and index.stat().st_size) or (drafts and any(drafts.iterdir())))
        return not place.exists() or not place.stat().st_size or _is_header(place)
    except OSError as error:
        raise _unwritable(path, error) from error


def _is_header(file: Path) -> bool:
    form = _FORMATS.get(_suffix(str(file)))
    return bool(form and file.stat().st_size < _LONGEST_HEADER_BYTES and form(()).is_header(file.read_bytes()))


def is_output(path: str) -> bool:
    """Tell whether a folder has an index, or a file begins like an output; an empty one may become one."""
    place = Path(path)
    if place.is_dir():
        return (place / _INDEX).is_file() or not any(place.iterdir())
    with place.open("rb") as file:
        first = file.read(max(map(len, OPENINGS)))
    return not first or first.startswith(OPENINGS)


def discard(path: str) -> None:
    """Delete an output, if it is there; of a folder what its index names, and no other file.

    Raises:
        ClusterError: it is damaged, in use, or the disk refuses; a folder may have lost some results by then.
    """
    place = Path(os.path.realpath(path))  # a link stays
    is_folder = place.is_dir()
    file = place / _INDEX if is_folder else place
    try:
        if is_folder and file.exists():
            with open_output(f"{place}/") as output:
                output.remove_files()
        for each in (file, early_path(file)):
            each.unlink(missing_ok=True)
        if is_folder:
            with suppress(OSError):  # there is something else in it
                place.rmdir()
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: str, error: OSError) -> ClusterError:
    why = (error.strerror or str(error)).lower()
    return ClusterError(f"--output {path}: {why}; what it has is kept: the same command goes on when that is mended")
