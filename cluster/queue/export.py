"""Failed messages written to a file or a folder, from which they can be published again."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from cluster.queue.failures import Failure, record_of
from scripts.errors import ClusterError


class Export(Protocol):
    """Takes messages; `publish` are the flags of `inv publish` that make messages of them again, if any do."""

    count: int
    publish: str

    def write(self, failure: Failure, body: bytes) -> None:
        """Write a message (ClusterError: not possible in this form)."""

    def close(self) -> None:
        """Return when all is on the disk."""

    def remove(self) -> None:
        """Remove what was written."""


@contextmanager
def open_export(output: str) -> Iterator[Export]:
    """Open an output that is not there yet: FILE.jsonl, FOLDER/, or any other file for lines.

    It is removed again where it was not written to its end.
    """
    if not output:
        raise ClusterError("--output is missing: name a file such as failed.txt or failed.jsonl, or a FOLDER/")
    path = Path(output).expanduser()
    try:
        if output.endswith("/"):
            export: Export = Folder(path)
        else:
            export = Records(path) if path.suffix == ".jsonl" else Lines(path)
    except FileExistsError as error:
        raise ClusterError(f"--output {output}: it is there already, and is not overwritten: name another") from error
    except OSError as error:
        raise _unwritable(error) from error
    try:
        yield export
        export.close()
    except OSError as error:
        export.remove()
        raise _unwritable(error) from error
    except BaseException:
        export.remove()
        raise


def _unwritable(error: OSError) -> ClusterError:
    return ClusterError(f"--output: {error.filename or ''} cannot be written: {(error.strerror or str(error)).lower()}")


class _File:
    publish = ""

    def __init__(self, path: Path) -> None:
        self.count = 0
        self._path = path
        self._file = path.open("xb")

    def _add(self, line: bytes) -> None:
        self._file.write(line)
        self.count += 1

    def close(self) -> None:
        _sync(self._file)

    def remove(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)


class Lines(_File):
    """A body a line, as `publish --file` reads them."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.publish = f"--file {shlex.quote(str(path))}"

    def write(self, failure: Failure, body: bytes) -> None:
        """Write a line; a body that has a newline, is empty or binary is none."""
        why = "is empty" if not body else "has a newline" if b"\n" in body else "is binary" if b"\0" in body else ""
        if why:
            known = f"the message {failure.id}" if failure.id else "a message"
            raise ClusterError(
                f"--output {self._path}: the body of {known} {why}, and is no line: --output {self._path.stem}/ writes "
                "a file a message, --output FILE.jsonl all in JSON"
            )
        self._add(body + b"\n")


class Records(_File):
    """Messages with all that is known of them, a line of JSON each."""

    def write(self, failure: Failure, body: bytes) -> None:
        """Write a record."""
        self._add(json.dumps(record_of(failure, body)).encode() + b"\n")


class Folder:
    """A file for each body, as `publish --files` reads them; named as the file was, or by the item's number."""

    def __init__(self, path: Path) -> None:
        self.count = 0
        self._path = path
        self.publish = f"--files {shlex.quote(f'{path}/*')}"
        self._names: set[str] = set()
        if path.is_dir() and any(path.iterdir()):
            raise FileExistsError
        self._is_new = not path.is_dir()
        path.mkdir(exist_ok=True)

    def write(self, failure: Failure, body: bytes) -> None:
        """Write a file."""
        self.count += 1
        number = f"item-{failure.item:06d}" if failure.item is not None else f"message-{self.count:06d}"
        wanted = failure.file.rpartition("/")[2].lstrip(".")
        name = wanted if wanted and wanted.isprintable() and wanted not in self._names else number
        while name in self._names:
            name = f"{name}-{self.count}"
        with (self._path / name).open("xb") as file:
            self._names.add(name)
            file.write(body)
            _sync(file)

    def close(self) -> None:
        """Return at once: each file is on the disk."""

    def remove(self) -> None:
        """Remove the files, and the folder where it is ours."""
        for name in self._names:
            (self._path / name).unlink(missing_ok=True)
        if self._is_new:
            self._path.rmdir()


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()
