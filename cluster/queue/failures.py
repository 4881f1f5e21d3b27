"""Failed messages: the facts of each, those that a person means, and what they have in common."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

from cluster.queue.publishing.sender import FILE_HEADER
from cluster.queue.runs.numbers import Numbers
from scripts.errors import ClusterError
from scripts.one_line import one_line
from scripts.worker import headers
from scripts.worker.metadata import plain

_MOST_GROUPS = 50
_OTHER = "other reasons"
_RANGES = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*", re.ASCII)

# All but line ends and tabs that a terminal obeys: a body that has one is no text.
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True)
class Failure:
    """A message in a failed queue: what is known of it, and of its last attempt; None and empty are not known.

    `history`: a line for each time that it failed before; `size`: the bytes of its body.
    """

    id: str
    item: int | None
    file: str
    reason: str
    exit: int | None
    attempts: int | None
    host: str
    started: str
    seconds: float | None
    first_published: str
    history: list[str]
    size: int
    stderr: str

    @property
    def last_line(self) -> str:
        """The last line of STDERR that says something."""
        return next((line for line in reversed(self.stderr.splitlines()) if line.strip()), "").strip()


def failure_of(properties: Any, size: int, queue: str) -> Failure:
    """Read a message of the failed queue `queue`.

    Anybody may have written its headers: what makes no sense is left out.
    """
    found = properties.headers or {}
    exit_code, attempts, item = (_whole(found.get(name)) for name in (headers.EXIT, headers.ATTEMPT, headers.ITEM))
    history = plain(found.get(headers.HISTORY))
    return Failure(
        _text(properties.message_id), item, _text(found.get(FILE_HEADER)), headers.failed_before(properties, queue),
        exit_code, attempts, _text(found.get(headers.HOST)), _text(found.get(headers.STARTED)),
        _seconds(found.get(headers.SECONDS)), _text(found.get(headers.FIRST_PUBLISHED)),
        [line for line in history if isinstance(line, str)] if isinstance(history, list) else [],
        size, _text(found.get(headers.STDERR)),
    )  # fmt: skip


def record_of(failure: Failure, body: bytes | None = None) -> dict[str, Any]:
    """Return the same for JSON; a body that is no UTF-8 is in base64."""
    record: dict[str, Any] = asdict(failure)
    if body is not None:
        try:
            record["body"] = body.decode()
        except UnicodeDecodeError:
            record["body_base64"] = base64.b64encode(body).decode()
    return record


def text_of(body: bytes) -> str | None:
    """Return a body as text; None for one that is none."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    return None if _CONTROLS.search(text) else text


@dataclass(frozen=True)
class Selection:
    """The failed messages that a person means; those that meet all that is given.

    An id is a message's whole one, or the beginning of one alone. `takes_all` is given alone.
    """

    ids: tuple[str, ...] = ()
    items: str = ""
    exit_code: int | None = None
    reason: str = ""
    takes_all: bool = False

    def check(self) -> None:
        """Refuse what is no selection."""
        given = bool(self.ids or self.items or self.exit_code is not None or self.reason)
        if given == self.takes_all:
            flags = "--all, or which: --id ID (several times), --item 17,203-207, --exit-code N, --reason TEXT"
            raise ClusterError(f"--all is given with another choice: give {flags}" if given else f"which? Give {flags}")
        if self.items and not _RANGES.fullmatch(self.items.replace(" ", "")):
            raise ClusterError(f"--item {self.items!r}: write numbers and ranges with commas, such as 17,203-207")

    def meets(self, failure: Failure) -> bool:
        """Tell whether the message is meant, by whole ids."""
        return (
            (not self.ids or failure.id in self.ids)
            and (not self.items or self._has_item(failure.item))
            and (self.exit_code is None or failure.exit == self.exit_code)
            and self.reason.casefold() in failure.reason.casefold()
        )

    def _has_item(self, item: int | None) -> bool:
        pairs = (part.partition("-") for part in self.items.replace(" ", "").split(","))
        return item is not None and any(int(first) <= item <= int(last or first) for first, _, last in pairs)


class Ids:
    """Finds the whole ids that beginnings stand for, while the messages pass by."""

    def __init__(self, given: tuple[str, ...]) -> None:
        self._found: dict[str, set[str]] = {one: set() for one in given}

    def see(self, failure: Failure) -> None:
        """Note the id of a message."""
        for given, found in self._found.items():
            if failure.id.startswith(given) and (len(found) < 3 or failure.id == given):
                found.add(failure.id)

    def whole(self, queue: str, flags: str = "") -> tuple[str, ...]:
        """Return the whole ids; `flags` mean the queue in a command line.

        Raises:
            ClusterError: none begins so, or several do.
        """
        return tuple(self._one(given, found, queue, flags) for given, found in self._found.items())

    def _one(self, given: str, found: set[str], queue: str, flags: str) -> str:
        if given in found:
            return given
        if len(found) == 1:
            return next(iter(found))
        if found:
            raise ClusterError(f"--id {given}: give more of it: {' and '.join(sorted(found)[:2])} begin so")
        raise ClusterError(
            f"--id {given}: no failed message of {queue!r} has such an id: ./inv failed.list --json{flags} has all"
        )


@dataclass
class Group:
    """Failed messages with one exit code and reason: how many, their items, and one of them as an example."""

    exit: int | None
    reason: str
    count: int = 0
    items: Numbers = field(default_factory=Numbers)
    example: Failure | None = None

    def add(self, failure: Failure) -> None:
        """Count one more."""
        self.count += 1
        if failure.item is not None and failure.item > 0:
            self.items.add(failure.item)
        if self.example is None or (failure.last_line and not self.example.last_line):
            self.example = failure

    def numbers(self, most: int) -> str:
        """Return the items' numbers, such as `17, 203-207, ...`, as so many ranges at most."""
        shown = [
            str(first) if first == last else f"{first}-{last}" for first, last in islice(self.items.ranges(), most + 1)
        ]
        return ", ".join([*shown[:most], "..."] if len(shown) > most else shown)


class Groups:
    """Failed messages by exit code and reason; at most 50, and one for all others, so that memory stays bounded."""

    def __init__(self) -> None:
        self.count = 0
        self._groups: dict[tuple[int | None, str], Group] = {}

    def add(self, failure: Failure) -> None:
        """Put a message into its group."""
        self.count += 1
        exit_code, reason = failure.exit, one_line(failure.reason, 200) or "no reason given"
        if (exit_code, reason) not in self._groups and len(self._groups) >= _MOST_GROUPS:
            exit_code, reason = None, _OTHER
        self._groups.setdefault((exit_code, reason), Group(exit_code, reason)).add(failure)

    @property
    def example(self) -> Failure | None:
        """A message of the largest group."""
        return next((group.example for group in self), None)

    def __iter__(self) -> Iterator[Group]:
        """Yield the groups, the largest first."""
        return iter(
            sorted(self._groups.values(), key=lambda group: (group.reason == _OTHER, -group.count, group.reason))
        )


def _whole(value: Any) -> int | None:
    found = plain(value)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def _seconds(value: Any) -> float | None:
    try:
        return float(_text(value))
    except ValueError:
        return None


def _text(value: Any) -> str:
    found = plain(value)
    if isinstance(found, str):
        return found.encode(errors="surrogateescape").decode(errors="replace")
    return "" if found is None else str(found)
