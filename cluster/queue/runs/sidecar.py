"""The sidecar of an output: a small file `OUTPUT.run` that knows the run, and how far its items are published.

It is written before anything is published. After a loss of power it may say less than was published, never more.
"""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cluster.files import Notes
from cluster.queue.publishing.items import Position
from scripts.errors import ClusterError


@dataclass(frozen=True)
class Wanted:
    """The terms of a run, which stay the same until all its items have a result: whatever differs is refused by name.

    `digest` is over the items and what shapes them.
    """

    items: str
    digest: str
    total: int
    action: str
    queue: str
    broker: str
    name: str
    keep_order: bool


@dataclass(frozen=True)
class State:
    """The state of a run: all items before `offset` are published (from line `line`, which is item `number`).

    `run` is empty while none is under way. `published` says that all are, `again` that those which did not answer
    were published once more.
    """

    wanted: Wanted
    run: str = ""
    offset: int = 0
    line: int = 1
    number: int = 1
    published: bool = False
    again: bool = False

    @property
    def position(self) -> Position:
        """The first item that is not known to be published."""
        return Position(self.offset, self.line, self.number)


class Sidecar:
    """The open and locked sidecar of an output; `state` is None while it is new."""

    def __init__(self, output: str) -> None:
        self.path = sidecar_of(output)
        self._output = output
        try:
            self._notes = Notes(self.path)
            try:
                self.state = self._read()
            except ValueError:
                self._notes.close()
                raise
        except BlockingIOError as error:
            raise ClusterError(f"{output} is being written by another inv map: wait for it, or stop it") from error
        except OSError as error:
            raise self._unwritable(error) from error
        except ValueError as error:
            raise ClusterError(
                f"{self.path} is damaged, or no file of inv map: remove it and {self._output}, or take another --output"
            ) from error

    def _read(self) -> State | None:
        if not self._notes.found:
            return None
        try:
            found = dict(self._notes.found)
            return State(Wanted(**found.pop("wanted")), **found)
        except (TypeError, KeyError) as error:
            raise ValueError(f"{self.path} is of no run") from error

    def check(self, wanted: Wanted, may_change_items: bool = False) -> bool:
        """Refuse a run whose terms have changed, by the name of what has; return whether only its items have.

        Raises:
            ClusterError: something differs.
        """
        if self.state is None:
            return False
        before = self.state.wanted
        anew = f"take another --output, or --restart deletes {self._output} and begins anew"
        shown = {
            "items": "the items are", "action": "--action is", "queue": "the queue is", "broker": "the broker is",
            "name": "--name is", "keep_order": "--keep-order is",
        }  # fmt: skip
        for field, text in shown.items():
            then, now = getattr(before, field), getattr(wanted, field)
            if then != now:
                raise ClusterError(f"{self._output} was begun otherwise: {text} {now!r}, and was {then!r}; {anew}")
        if before.digest != wanted.digest and not may_change_items:
            raise ClusterError(
                f"{wanted.items} has changed since {self._output} was begun, or is read with other flags; "
                f"--retry-failed takes it where only failed items have changed; {anew}"
            )
        return before.digest != wanted.digest

    def write(self, state: State) -> None:
        """Note how far the run has come; a new run is on the disk when this returns."""
        if state == self.state:
            return
        is_new = self.state is None or state.run != self.state.run
        try:
            self._notes.write(asdict(state), is_safe=is_new)
        except OSError as error:
            raise self._unwritable(error) from error
        self.state = state

    def begin(self, wanted: Wanted) -> State:
        """Note a new run of those items that have no result yet."""
        self.write(State(wanted, new_run()))
        assert self.state
        return self.state

    def run_at(self, wanted: Wanted) -> str:
        """Return the run that is under way, if its items are on this queue of this broker; else nothing."""
        if self.state and (self.state.wanted.broker, self.state.wanted.queue) == (wanted.broker, wanted.queue):
            return self.state.run
        return ""

    def publish_again(self) -> None:
        """Note that what has no result is to be published again."""
        assert self.state
        self.write(State(self.state.wanted, self.state.run, again=self.state.again))

    def at(self, position: Position) -> None:
        """Note that all items before this position are published."""
        assert self.state
        self.write(replace(self.state, **asdict(position)))

    def close(self, delete: bool = False) -> None:
        """Unlock it; delete one that says nothing, or on demand."""
        self._notes.close(delete=delete or self.state is None)

    def _unwritable(self, error: OSError) -> ClusterError:
        return ClusterError(f"{self.path}: {(error.strerror or str(error)).lower()}; inv map notes there what it does")


def sidecar_of(output: str) -> Path:
    """Return the path of an output's sidecar."""
    return Path(f"{output.rstrip('/')}.run")


def new_run() -> str:
    """Return the id of a new run: 8 hexadecimal digits."""
    return secrets.token_hex(4)
