"""The files that an image is made from, as a digest: an image bears that of its own, and older ones can be told."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from cluster.components import Component

LABEL = "cluster.sources"
_LEFT_OUT = "__pycache__"  # as in .dockerignore


def digest(component: Component) -> str:
    """Return a digest over the names and the bytes of all files that go into a component's image, Dockerfile included.

    Modes make no difference: the Dockerfile lets everybody read and run what is there.
    """
    found = hashlib.sha256()
    for path in sorted(_files(component)):
        for part in (os.fsencode(path.relative_to(component.root)), _content(path)):
            found.update(b"%d:%b" % (len(part), part))
    return found.hexdigest()


def _content(path: Path) -> bytes:
    if path.is_symlink():
        return os.fsencode(path.readlink())
    try:
        return path.read_bytes() if path.is_file() else b""
    except OSError:  # the build says what is wrong with it
        return b""


def _files(component: Component) -> Iterator[Path]:
    for folder in component.sources:
        for parent, folders, names in os.walk(folder):
            folders[:] = [name for name in folders if name != _LEFT_OUT]
            links = [name for name in folders if Path(parent, name).is_symlink()]
            yield from (Path(parent, name) for name in [*names, *links] if Path(parent, name) != component.definition)
