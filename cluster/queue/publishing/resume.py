"""The sidecar: a small file in `.run/publish/` that says how far the publishing of an input has come.

After a loss of power it may say less than was confirmed, never more.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from cluster.files import Notes
from cluster.queue.publishing.items import Position
from cluster.queue.publishing.link import Target
from cluster.queue.publishing.publisher import Published, Watch, publish
from cluster.queue.publishing.sources import Source
from cluster.settings import ROOT
from scripts.errors import ClusterError

SIDECARS = ROOT / ".run" / "publish"


@dataclass(frozen=True)
class Record:
    """A publication: the input, where it goes, the flags, and up to where all of it is confirmed."""

    path: str
    size: int
    digest: str
    queue: str
    broker: str
    flags: dict[str, Any] = field(default_factory=dict)
    offset: int = 0
    line: int = 1
    number: int = 1
    complete: bool = False

    def at(self, position: Position) -> Record:
        """Return the same with another position."""
        return replace(self, **asdict(position))

    @property
    def position(self) -> Position:
        """The first message that is not known to be confirmed."""
        return Position(self.offset, self.line, self.number)


def publish_noting(
    source: Source, target: Target, watch: Watch, flags: dict[str, Any], resume: bool, folder: Path = SIDECARS
) -> Published:
    """Publish with a sidecar that notes how far it has come, so that `resume` can go on from there.

    `flags` are those that change what is sent: they must be the same when it is resumed. A source that cannot be read
    again (a body, a stream) has no sidecar.
    """
    if not source.digest:
        if resume:
            raise ClusterError(f"--resume needs --file or --files: {source.name} cannot be read again")
        return publish(source, target, watch)
    wanted = Record(source.path, source.size, source.digest, target.queue, target.broker, flags)
    with closing(Sidecar(folder, wanted)) as sidecar:
        at = start_at(sidecar.record, wanted, resume, sidecar.path)
        if at is None:
            watch.say(f"{source.name} is published to {target.queue!r} already, all of it")
            return Published(target.queue, 0, 0, 0)
        if at.offset:
            watch.say(f"going on from {source.place(at.line)} of {source.name}")
        sidecar.write(wanted.at(at))
        noting = replace(
            watch,
            progress=lambda messages: watch.progress(at.number - 1 + messages),
            confirmed=lambda position: sidecar.write(wanted.at(position)),
        )
        try:
            done = publish(source, target, noting, at)
        except ClusterError as error:
            if sidecar.record and sidecar.record.offset:
                raise type(error)(f"{error}; --resume goes on from there") from error
            raise
        if sidecar.record:
            sidecar.write(replace(sidecar.record, complete=True))
        return done


def start_at(found: Record | None, wanted: Record, resume: bool, sidecar: Path) -> Position | None:
    """Return where to begin; None when all is published already."""
    what = f"{wanted.path} to {wanted.queue!r}"
    if found is None and resume:
        raise ClusterError(f"--resume: no publishing of {what} was begun here; without --resume it begins")
    if found is None or not found.offset or (found.complete and not resume):
        return Position()
    where = "was complete" if found.complete else f"stopped before message {found.number:,}"
    anew = f"to publish it from the beginning, {'leave --resume out' if found.complete else f'delete {sidecar}'}"
    if found.broker != wanted.broker:
        raise ClusterError(
            f"publishing {what} {where}, at {found.broker}; {wanted.broker} is another broker or virtual "
            f"host: to go on, name the former with --resume; {anew}"
        )
    if (found.size, found.digest) != (wanted.size, wanted.digest):
        raise ClusterError(f"publishing {what} {where}, and the input has changed since; {anew}")
    if not resume:
        raise ClusterError(f"publishing {what} {where}; --resume goes on from there; {anew}")
    if found.flags != wanted.flags:
        flags = f"it was with {_shown(found.flags)}, and now with {_shown(wanted.flags)}"
        raise ClusterError(f"publishing {what} {where}, but --resume needs the same flags: {flags}; {anew}")
    return None if found.complete else found.position


class Sidecar:
    """The open and locked sidecar of a wanted input and queue; `record` is what it says, None while it is new."""

    def __init__(self, folder: Path, wanted: Record) -> None:
        key = hashlib.sha256(os.fsencode(f"{wanted.path}\0{wanted.queue}")).hexdigest()[:12]
        name = re.sub(r"[^A-Za-z0-9._-]", "_", Path(wanted.path).name)
        self.path = folder / f"{name[:80]}-{key}.json"
        try:
            self._notes = Notes(self.path)
            self.record = None if self._notes.found is None else Record(**self._notes.found)
        except BlockingIOError as error:
            raise ClusterError(
                f"{wanted.path} is being published to {wanted.queue!r} by another process: wait for it or stop it"
            ) from error
        except OSError as error:
            raise _unwritable(self.path, error) from error
        except (ValueError, TypeError) as error:
            raise ClusterError(
                f"{self.path} is damaged; delete it to publish {wanted.path} from its beginning"
            ) from error

    def write(self, record: Record) -> None:
        """Note how far it has come."""
        if record == self.record:
            return
        try:
            self._notes.write(asdict(record))
        except OSError as error:
            raise _unwritable(self.path, error) from error
        self.record = record

    def close(self) -> None:
        """Unlock it; delete one that says nothing, since nothing was confirmed."""
        self._notes.close(delete=not self.record or not (self.record.offset or self.record.complete))


def _unwritable(path: Path, error: OSError) -> ClusterError:
    return ClusterError(f"{path}: {(error.strerror or '').lower()}; publishing notes there how far it has come")


def _shown(flags: dict[str, Any]) -> str:
    return ", ".join(f"{flag} {value}" for flag, value in flags.items())
