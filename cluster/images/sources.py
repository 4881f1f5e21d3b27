"""The files that an image is made from, as a digest: an image bears that of its own, and older ones can be told."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from cluster.components import Component

LABEL = "cluster.sources"
_LEFT_OUT = "__pycache__"  # as in .dockerignore


def digest(component: Component) -> str:
    """Return a digest over the names and the bytes of all files that go into a component's image, Dockerfile included.

    Modes make no difference: the Dockerfile lets everybody read and run what is there.
    """
    found = hashlib.sha256()
    for path in sorted(path for path in _files(component.sources) if path != component.definition):
        for part in (os.fsencode(path.relative_to(component.root)), _content(path)):
            found.update(b"%d:%b" % (len(part), part))
    return found.hexdigest()


def changed_at(folders: Iterable[Path]) -> float:
    """Return when one of their files was changed last, in seconds since 1970; 0 where there is none.

    Not by the time that a copy may take along from elsewhere. A file that was deleted tells nothing.
    """
    return max(map(_changed_at, _files(folders)), default=0)


def _changed_at(path: Path) -> float:
    try:
        return path.lstat().st_ctime
    except OSError:  # it was just deleted
        return 0


def _content(path: Path) -> bytes:
    if path.is_symlink():
        return os.fsencode(path.readlink())
    try:
        return path.read_bytes() if path.is_file() else b""
    except OSError:  # the build says what is wrong with it
        return b""


def _files(wanted: Iterable[Path]) -> Iterator[Path]:
    for folder in wanted:
        for parent, folders, names in os.walk(folder):
            folders[:] = [name for name in folders if name != _LEFT_OUT]
            links = [name for name in folders if Path(parent, name).is_symlink()]
            yield from (Path(parent, name) for name in [*names, *links])
