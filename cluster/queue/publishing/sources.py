"""The inputs that can be published: one body, a file, a set of files, or a stream."""

from __future__ import annotations

import glob
import hashlib
import os
import select
import stat
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from cluster.interrupts import Interrupted
from cluster.queue.publishing.items import MAX_BODY_BYTES, Item, Position, Split, items, scan
from scripts.errors import ClusterError

CHUNK_BYTES = 64 * 1024
STDIN = 0


@dataclass(frozen=True)
class Source:
    """Messages to be published, and what is known of them beforehand.

    `start` gives the items from a position on; a None among them means that nothing has come yet. `place` says to a
    person what an item's `line` is. `messages` is None where nothing is known before it is read. A source with a
    `digest` can be read again from any position, so its publishing can be resumed; `path` and `size` (bytes) say which
    it was. `left_out` says to a person what was named and is none of it. Ids begin with `prefix`, which is random
    without a digest. `has_items`: a message takes along its `line`, the number of an item. `properties` are an item's
    where they are not made here; then `places_of` tells which are on their way with an id, by their `key`.
    """

    name: str
    start: Callable[[Position], Iterator[Item | None]]
    place: Callable[[int], str]
    messages: int | None = None
    largest_bytes: int = 0
    largest_line: int = 1
    path: str = ""
    size: int = 0
    digest: str = ""
    left_out: str = ""
    prefix: str = field(default_factory=lambda: uuid.uuid4().hex[:16])
    key: Callable[[Item], int] = attrgetter("offset")
    properties: Callable[[Item], Any] | None = None
    has_items: bool = False
    places_of: Callable[[Any], Iterable[int]] = lambda message_id: (int(message_id.rpartition("-")[2]),)

    def id_of(self, item: Item) -> str:
        """Return the id of a message: the same bytes at the same place have the same, however often they are sent."""
        return f"{self.prefix}-{self.key(item)}"


def chosen(body: str | None, file: str, files: str, split: Split) -> Source:
    """Return the source that the flags of a command line name: --body, --file (`-` is STDIN) or --files."""
    given = [flag for flag, value in (("--body", body is not None), ("--file", file), ("--files", files)) if value]
    if len(given) != 1:
        flags = " and ".join(given) or "nothing to publish"
        raise ClusterError(f"{flags}: give one of --body TEXT, --file PATH (- is STDIN) and --files 'PATTERN'")
    if body is not None:
        return one_body(os.fsencode(body))
    if files:
        return file_set(files, split.skip_empty)
    return stream(STDIN, "STDIN", split) if file == "-" else text_file(file, split)


def one_body(body: bytes) -> Source:
    """Return a single message as a source."""
    if not body:
        raise ClusterError("the body is empty: an action would get no input; give it at least one byte")
    return replace(listed([body], "the body"), messages=1, largest_bytes=len(body))


def listed(bodies: Iterable[bytes], name: str) -> Source:
    """Return messages of a program as a source."""

    def start(at: Position) -> Iterator[Item]:
        return (_whole(place, body) for place, body in enumerate(bodies))

    return Source(name, start, lambda line: f"message {line:,}")


def text_file(path: str, split: Split, check: Callable[[Item], None] | None = None, name: str = "") -> Source:
    """Return a file, cut into messages; anything that is no regular file (a pipe, a terminal) is read as a stream.

    The file is read through once before anything is sent, for its digest and to find what could not be sent; `check`
    gets each message then. Errors call the file by a `name`, where it is only a copy.
    """
    name = name or path
    found = _stat(path)
    if stat.S_ISDIR(found.st_mode):
        raise ClusterError(f"{path} is a directory: --files '{path.rstrip('/')}/*' publishes each file in it whole")
    if not stat.S_ISREG(found.st_mode):
        return stream(os.open(path, os.O_RDONLY), path, split)
    digest = hashlib.sha256()

    def hashed() -> Iterator[bytes]:
        for chunk in _chunks(path, found, 0):
            digest.update(chunk)
            yield chunk

    try:
        messages, largest_bytes, largest_line = scan(hashed(), split, name, check)
    except KeyboardInterrupt as interrupt:
        raise Interrupted(f"interrupted while {name} was checked; nothing of it is published") from interrupt
    if not messages and not split.skip_empty:
        raise nothing_in(name)

    def start(at: Position) -> Iterator[Item | None]:
        return items(_chunks(path, found, at.offset), split, name, at)

    return Source(
        name, start, split.place, messages, largest_bytes, largest_line, str(Path(path).resolve()), found.st_size,
        digest.hexdigest(), prefix=digest.hexdigest()[:16], has_items=True,
    )  # fmt: skip


def stream(fd: int, name: str, split: Split) -> Source:
    """Return what comes from a pipe or a terminal, as it comes."""

    def chunks() -> Iterator[bytes | None]:
        while True:
            try:
                chunk = os.read(fd, CHUNK_BYTES) if select.select([fd], [], [], 0)[0] else None
            except OSError as error:
                raise ClusterError(f"{name} cannot be read: {(error.strerror or str(error)).lower()}") from error
            if chunk == b"":
                return
            yield chunk

    return Source(name, lambda at: items(chunks(), split, name, at), split.place, has_items=True)


def nothing_in(name: str) -> ClusterError:
    """Return the error for an input without a message: whoever should have written it may have failed."""
    return ClusterError(f"{name} is empty: there is nothing to publish; --skip-empty allows that")


def file_set(pattern: str, skip_empty: bool = False, by_path: bool = False) -> Source:
    """Return a message a file, for the regular files that match, in the order of their names.

    Where they are to be sent `by_path`, an empty or a very large one is as good as any.

    As in bash: `**` is any folders, but none behind a symbolic link, which may lead back to where it stands; `*` is no
    hidden name. The digest is over names, sizes and times, so that a large set is not read twice.
    """
    wanted = str(Path(pattern).expanduser())
    hidden: list[str] = []
    # A name that is there is that one, whatever characters it has (`run[1].csv`).
    names = [wanted] if os.path.lexists(wanted) else sorted(set(_expanded(wanted, hidden)))
    found = [(path, _stat(path)) for path in names]
    regular = [(path, seen) for path, seen in found if stat.S_ISREG(seen.st_mode)]
    if not regular:
        raise ClusterError(f"no file matches {pattern!r} in {Path.cwd()}; quote a pattern, so that the shell leaves it")
    files = [(path, seen) for path, seen in regular if seen.st_size or not skip_empty]
    for path, seen in () if by_path else files:
        if not seen.st_size:
            raise ClusterError(f"{path} is empty; --skip-empty leaves empty files out")
        if seen.st_size > MAX_BODY_BYTES:
            raise ClusterError(
                f"{path} is larger than {MAX_BODY_BYTES // 1024**2} MiB; publish its path, a line of a file, instead"
            )
    # What is no plain file, nor a folder that `**` goes into; and the hidden folders, into which it does not go.
    may_be = (stat.S_IFREG, stat.S_IFDIR) if "**" in wanted else (stat.S_IFREG,)
    others = [path for path, seen in found if stat.S_IFMT(seen.st_mode) not in may_be]
    others += [f"{path}/" for path in dict.fromkeys(hidden)]
    sizes = [seen.st_size for _, seen in files]
    largest = max(sizes, default=0)
    known = "\0".join(f"{path}\0{seen.st_size}\0{seen.st_mtime_ns}" for path, seen in files)
    digest = hashlib.sha256(os.fsencode(known)).hexdigest()
    return Source(
        name=repr(pattern),
        start=lambda at: _whole_files(files, at),
        place=lambda line: files[line - 1][0] if line <= len(files) else "none",
        messages=len(files),
        largest_bytes=largest,
        largest_line=sizes.index(largest) + 1 if sizes else 0,
        path=str(Path(wanted).absolute()),
        size=sum(sizes),
        digest=digest,
        left_out=", ".join(others[:3]) + (f" and {len(others) - 3:,} more" if len(others) > 3 else ""),
        prefix=digest[:16],
        has_items=True,
    )


def _expanded(pattern: str, hidden: list[str]) -> Iterator[str]:
    """Yield what a pattern matches; the hidden folders that it does not go into are added to `hidden`."""
    parts = pattern.split("/")
    if "**" not in parts:
        yield from glob.glob(pattern)  # noqa: PTH207  (Path.glob takes no absolute patterns)
        return
    place = parts.index("**")
    tail = "/".join(parts[place + 1 :]) or "*"
    begin = "/".join([*parts[:place], ""])
    for top in glob.glob(begin) if begin else [""]:  # noqa: PTH207
        for folder in _folders(top, hidden):
            yield from _expanded(glob.escape(folder) + tail, hidden)


def _folders(top: str, hidden: list[str]) -> Iterator[str]:
    """Yield a folder ("" is the present one) and all below it, each with a slash at its end."""

    def unreadable(error: OSError) -> None:
        raise _unreadable(str(error.filename), error) from error

    for folder, below, _ in os.walk(top or ".", onerror=unreadable):
        path = os.path.join(folder, "")[0 if top else len("./") :]  # noqa: PTH118  (a path has no slash at its end)
        hidden += [path + name for name in below if name.startswith(".")]
        below[:] = [name for name in below if not name.startswith(".")]
        yield path


def _stat(path: str) -> os.stat_result:
    try:
        found = Path(path).stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    if not os.access(path, os.R_OK):
        raise ClusterError(f"{path}: you may not read it; look at its permissions with ls -l")
    return found


def _unreadable(path: str, error: OSError) -> ClusterError:
    reason = (error.strerror or str(error)).lower()
    seen_from = "" if path.startswith("/") else f" (seen from {Path.cwd()})"
    return ClusterError(f"{path}: {reason}{seen_from}")


def _chunks(path: str, known: os.stat_result, offset: int) -> Iterator[bytes]:
    """Yield the bytes of a file from `offset` to the size it had; an error when it is another file by then."""
    try:
        with Path(path).open("rb", buffering=0) as file:
            file.seek(offset)
            left = known.st_size - offset
            while left > 0 and (chunk := file.read(min(CHUNK_BYTES, left))):
                left -= len(chunk)
                yield chunk
            now = os.fstat(file.fileno())
    except OSError as error:
        raise _unreadable(path, error) from error
    if (now.st_size, now.st_mtime_ns) != (known.st_size, known.st_mtime_ns):
        raise ClusterError(f"{path} has changed while it was read; publish a copy that nothing writes to")


def _whole_files(files: list[tuple[str, os.stat_result]], at: Position) -> Iterator[Item]:
    for place, (path, known) in enumerate(files[at.offset :], start=at.offset):
        yield _whole(place, b"".join(_chunks(path, known, 0)), os.fsencode(path).decode(errors="replace"))


def _whole(place: int, body: bytes, file: str = "") -> Item:
    return Item(body, place, place + 1, place + 1, place + 2, place + 1, file)
