"""The order of an output's records: as they come, or that of the items."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from cluster.queue.runs.early import Early
from cluster.queue.runs.formats import Entry, Format
from cluster.queue.runs.numbers import Numbers
from cluster.queue.runs.record_file import RecordFile
from scripts.errors import ClusterError


class Records(Protocol):
    """Records in some order, in a format."""

    form: Format

    def read(self, done: Numbers, wrong: Callable[[int], str]) -> Iterator[Entry]:
        """Read the files, mend them, and yield what they have; whoever takes an entry adds it to `done`.

        What is `wrong` with an item's number is refused (`RecordFile.read`).
        """
        ...

    def entries(self) -> Iterator[Entry]:
        """Yield all records."""
        ...

    def put(self, place: int, raw: bytes) -> None:
        """Add the record of the item at a place."""
        ...

    def sync(self) -> None:
        """Return when all is on the disk."""
        ...

    def drop(self, is_out: Callable[[Entry], bool], before: Callable[[], None]) -> None:
        """Take records out; `before` is called when all is ready. Read the files anew then."""
        ...

    def close(self) -> None:
        """Close the files."""
        ...


class AsTheyCome:
    """Records in the order in which they come."""

    def __init__(self, records: RecordFile) -> None:
        self.form = records.form
        self._records = records
        self._early = Early(early_path(records.path))

    def read(self, done: Numbers, wrong: Callable[[int], str]) -> Iterator[Entry]:
        """Yield the records; those that waited for their turn, when order was kept, have it now."""
        yield from self._records.read(wrong)
        for _, raw in self._early.read():
            entry = self.form.parse(raw)
            if entry.number not in done:
                self._records.add(raw)
                yield entry
        if self._early.count:
            self._records.sync()
            self._early.remove()

    def entries(self) -> Iterator[Entry]:
        """Yield all records."""
        return self._records.read()

    def put(self, place: int, raw: bytes) -> None:
        """Add a record."""
        self._records.add(raw)

    def sync(self) -> None:
        """Return when all is on the disk."""
        self._records.sync()

    def drop(self, is_out: Callable[[Entry], bool], before: Callable[[], None]) -> None:
        """Take records out."""
        self._records.drop(is_out, before)

    def close(self) -> None:
        """Close the files."""
        self._early.close()
        self._records.close()


class ByPlace:
    """Records in the order of the items, without a gap; what comes early waits in `PATH.early`."""

    def __init__(self, records: RecordFile) -> None:
        self.form = records.form
        self._records = records
        self._early = Early(early_path(records.path))
        self._next = 0

    def read(self, done: Numbers, wrong: Callable[[int], str]) -> Iterator[Entry]:
        """Yield the records, also of those that wait."""
        self._next = last = 0
        for entry in self._records.read(wrong):
            if entry.number <= last:
                raise self._without_order(entry.number)
            last = entry.number
            self._next += 1
            yield entry
        # One that is in both files has had its turn.
        for _, raw in self._early.read(self._next):
            yield self.form.parse(raw)
        self._go_on()

    def _without_order(self, number: int) -> ClusterError:
        return ClusterError(
            f"{self._records.path}: item {number} is not in its place, the records are as they came: "
            "leave --keep-order out, or name another output"
        )

    def entries(self) -> Iterator[Entry]:
        """Yield all records, also those that wait."""
        yield from self._records.read()
        for _, raw in self._early.all():
            yield self.form.parse(raw)

    def put(self, place: int, raw: bytes) -> None:
        """Add a record, now or when its turn comes."""
        if place > self._next:
            self._early.put(place, raw)
            return
        if place < self._next:
            raise self._without_order(self.form.parse(raw).number)
        self._records.add(raw)
        self._next += 1
        if self._early.count:
            self._go_on()

    def _go_on(self) -> None:
        while (raw := self._early.pop(self._next)) is not None:
            self._records.add(raw)
            self._next += 1

    def sync(self) -> None:
        """Return when all is on the disk."""
        self._records.sync()
        self._early.sync()

    def drop(self, is_out: Callable[[Entry], bool], before: Callable[[], None]) -> None:
        """Take records out; those behind the first of them wait for their turn again."""
        cut = None
        end = len(self.form.header)
        new = Early(self._early.path.with_name(f".{self._early.path.name}.new"))
        new.path.unlink(missing_ok=True)
        for place, entry in enumerate(self._records.read()):
            is_in = not is_out(entry)
            if cut is None and not is_in:
                cut = end
            end += len(entry.raw)
            if cut is not None and is_in:
                new.put(place, entry.raw)
        for place, raw in self._early.all():
            if not is_out(self.form.parse(raw)):
                new.put(place, raw)
        before()
        new.replace(self._early.path)
        new.close()
        if cut is not None:
            self._records.cut(cut)

    def close(self) -> None:
        """Close the files."""
        self._early.close()
        self._records.close()


def early_path(path: Path) -> Path:
    """Return where the records wait that are before their turn."""
    return path.with_name(f"{path.name}.early")
