"""Work on all hosts at once: each under its own time limit, none in the way of another; shown while it goes on."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Generic, TypeVar

from cluster.hosts.host import Host
from cluster.hosts.remote import Remote
from cluster.hosts.ssh import connected
from cluster.interrupts import Interrupted
from cluster.settings import Settings
from cluster.terminal import live_table
from scripts.errors import ClusterError

T = TypeVar("T")
Show = Callable[[str], None]
Act = Callable[[Remote, Show], T]
Say = Callable[[str], None]

_LOOK_S = 0.5  # a signal that the system hands to another thread does not wake this one
MOST_AT_ONCE = 64  # a connection's start costs this machine some 30 ms of one core


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """A host's value, or an error whose line begins with the host's name."""

    host: Host
    value: T | None = None
    error: ClusterError | None = None


def on_all_hosts(
    settings: Settings, hosts: Sequence[Host], act: Act[T], *, doing: str, timeout_s: float, say: Say,
    describe: Callable[[T], str] = lambda value: "done", table: bool = True,
) -> list[Outcome[T]]:  # fmt: skip
    """Connect to every host, call `act(remote, show)` there, and return the outcomes in the order of `hosts`.

    A terminal shows a live table of the last words given to `show` (unless not `table`), else each host gets a line
    when it ends, made of its value by `describe`. A host that takes longer than `timeout_s` is cut off; how far it came
    over there is then unknown. A bug in `act` is raised when all others have ended.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; it says which hosts are done.
    """
    turns, came = [_Turn[T](host) for host in hosts], _Came[T]()
    slots = threading.Semaphore(MOST_AT_ONCE)
    for turn in turns:
        threading.Thread(target=turn.run, args=(settings, act, timeout_s, slots, came), daemon=True).start()
    shown = live_table(doing, lambda: [(str(turn.host), turn.now) for turn in turns]) if table else nullcontext(True)
    with shown as is_shown:
        try:
            for turn, outcome in _ended(turns, came, timeout_s):
                turn.show("failed" if outcome.error else describe(outcome.value))  # type: ignore[arg-type]
                if not is_shown:
                    say(f"{turn.host}: {turn.now}")
        except KeyboardInterrupt:
            raise Interrupted(_cut_all(turns)) from None
    for turn in turns:
        if turn.bug:
            raise turn.bug
    return [turn.outcome for turn in turns if turn.outcome]


def values(outcomes: Sequence[Outcome[T]], doing: str, say: Say) -> list[T]:
    """Return the values of all hosts; if some failed, say so in a line each, and raise ClusterError."""
    failed = [outcome for outcome in outcomes if outcome.error]
    for outcome in failed:
        say(str(outcome.error))
    if failed:
        names = ", ".join(str(outcome.host) for outcome in failed)
        raise ClusterError(
            f"{doing}: {len(failed)} of {len(outcomes)} hosts failed: {names}: mend that and run it again"
        )
    return [outcome.value for outcome in outcomes if outcome.value is not None]


@dataclass
class _Turn(Generic[T]):
    """The work on one host while it goes on."""

    host: Host
    now: str = "waits for its turn"
    ends_at: float = math.inf
    remote: Remote | None = None
    outcome: Outcome[T] | None = None
    bug: BaseException | None = None

    def show(self, now: str) -> None:
        self.now = now

    def run(
        self, settings: Settings, act: Act[T], timeout_s: float, slots: threading.Semaphore, came: _Came[T]
    ) -> None:
        """Do the work, in a thread of its own."""
        with slots:
            self.ends_at = time.monotonic() + timeout_s
            came.put((self, self._outcome(settings, act)))

    def _outcome(self, settings: Settings, act: Act[T]) -> Outcome[T]:
        self.show("connects")
        try:
            with connected(settings, self.host) as self.remote:
                self.show("connected")
                return Outcome(self.host, act(self.remote, self.show))
        except ClusterError as error:
            is_named = str(error).startswith(f"{self.host}: ")
            return Outcome(self.host, error=error if is_named else type(error)(f"{self.host}: {error}"))
        except BaseException as bug:
            self.bug = bug
            return Outcome(self.host, error=ClusterError(f"{self.host}: {type(bug).__name__}"))

    def cut(self) -> None:
        if self.remote:
            self.remote.abandon()

    def cut_off(self, timeout_s: float) -> Outcome[T]:
        self.cut()
        error = ClusterError(
            f"{self.host}: not done within {timeout_s:g} s, cut off while it said: {self.now}; it may still be at "
            "work: look there, or give it longer (--timeout), then run this again"
        )
        return Outcome(self.host, error=error)


_Came = queue.SimpleQueue[tuple[_Turn[T], Outcome[T]]]


def _ended(turns: Sequence[_Turn[T]], came: _Came[T], timeout_s: float) -> Iterator[tuple[_Turn[T], Outcome[T]]]:
    """Yield each host when it has ended or its time is over, until all have."""
    while waiting := [turn for turn in turns if not turn.outcome]:
        left_s = min(turn.ends_at for turn in waiting) - time.monotonic()
        try:
            ended = [came.get(timeout=max(0.0, min(_LOOK_S, left_s)))]
        except queue.Empty:
            ended = [(turn, turn.cut_off(timeout_s)) for turn in waiting if turn.ends_at <= time.monotonic()]
        for turn, outcome in ended:
            if not turn.outcome:  # else it was cut off before
                turn.outcome = outcome
                yield turn, outcome


def _cut_all(turns: Sequence[_Turn[T]]) -> str:
    """Cut off what goes on, and say what became of each host."""
    open_ = [turn for turn in turns if not turn.outcome]
    for turn in open_:
        turn.cut()
    hosts = {
        "done": [turn for turn in turns if turn.outcome and not turn.outcome.error],
        "failed": [turn for turn in turns if turn.outcome and turn.outcome.error],
        "not begun": [turn for turn in open_ if not turn.remote],
        "cut off, where what was begun may go on until its time limit": [turn for turn in open_ if turn.remote],
    }
    parts = [f"{how}: {', '.join(str(turn.host) for turn in which)}" for how, which in hosts.items() if which]
    return "; ".join(["interrupted", *parts])
