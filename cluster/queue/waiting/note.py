"""The note of what was in a failed queue before this checkout published: what is there beyond has failed since.

`publish` makes it before its first message. It stays, whatever else is published, until `wait` has told of the end of
the work, and goes on from there: so nothing that fails between the two is missed, and nothing is told twice.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cluster.files import Notes
from cluster.settings import ROOT
from scripts.errors import ClusterError

NOTES = ROOT / ".run" / "publish" / "queues"

# Who else writes the note does so in milliseconds.
_LOCKED_FOR_S = 5.0


@dataclass(frozen=True)
class Note:
    """The number in the failed queue at a time (seconds since the epoch), and how many messages were published since.

    `is_open`: the end of what was published since then has not been told of.
    """

    failed: int = 0
    since: float = 0.0
    published: int = 0
    is_open: bool = False


class NoteFile:
    """The note of a queue at a broker; what cannot be read counts as none.

    Raises, in all it does:
        ClusterError: it cannot be written, or is locked for long.
    """

    def __init__(self, broker: str, queue: str, folder: Path = NOTES) -> None:
        key = hashlib.sha256(f"{broker}\0{queue}".encode()).hexdigest()[:12]
        self.path = folder / f"{re.sub(r'[^A-Za-z0-9._-]', '_', queue)[:80]}-{key}.json"

    def read(self) -> Note | None:
        """Return the note; None where there is none."""
        if not self.path.exists():
            return None
        with self._opened() as notes:
            return _found(notes)

    def publishing(self, failed: int) -> None:
        """Note what is in the failed queue before the first message; what is not told of yet stays in the note."""
        with self._opened() as notes:
            found = _found(notes)
            kept = found if found and found.is_open else Note(failed, time.time(), is_open=True)
            notes.write(asdict(replace(kept, failed=min(kept.failed, failed))), is_safe=True)

    def published(self, messages: int) -> None:
        """Count what was published."""
        with self._opened() as notes:
            if found := _found(notes):
                notes.write(asdict(replace(found, published=found.published + messages)))

    def reported(self, failed: int) -> None:
        """Note that the end was told of, with so many messages in the failed queue."""
        with self._opened() as notes:
            notes.write(asdict(Note(failed, time.time())), is_safe=True)

    def taken_out(self, messages: int, put_back: int = 0) -> None:
        """Note that so many have left the failed queue: it must not hide as many that fail later.

        They may have failed since the note; then others that failed before it are told of once more.

        `put_back` of them are worked on again, as if they were published now.
        """
        with self._opened() as notes:
            if found := _found(notes):
                left, published = max(0, found.failed - messages), found.published + put_back
                is_open = found.is_open or put_back > 0
                notes.write(asdict(replace(found, failed=left, published=published, is_open=is_open)), is_safe=True)

    @contextmanager
    def _opened(self) -> Iterator[Notes]:
        end_s = time.monotonic() + _LOCKED_FOR_S
        while True:
            try:
                notes = Notes(self.path)
                break
            except BlockingIOError as error:
                if time.monotonic() > end_s:
                    raise ClusterError(f"{self.path} is locked by another process: wait for it or stop it") from error
                time.sleep(0.01)
            except ValueError:
                self.path.unlink(missing_ok=True)
            except OSError as error:
                raise ClusterError(
                    f"{self.path}: {(error.strerror or '').lower()}; it notes what has failed"
                ) from error
        with closing(notes):
            yield notes


def _found(notes: Notes) -> Note | None:
    try:
        return Note(**notes.found) if notes.found else None
    except TypeError:
        return None
