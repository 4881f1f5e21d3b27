"""Work on all hosts at once: each under its own time limit, none in the way of another."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from cluster.hosts.host import Host
from cluster.hosts.live_table import live_table
from cluster.hosts.remote import Remote
from cluster.hosts.ssh import connected
from cluster.interrupts import Interrupted
from cluster.settings import Settings
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
    work = _Work(settings, act, timeout_s, [_Turn(host) for host in hosts])
    for turn in work.turns:
        threading.Thread(target=work.run, args=(turn,), daemon=True).start()
    with live_table(doing, lambda: [(str(turn.host), turn.now) for turn in work.turns], table, say) as tell:
        try:
            for turn, outcome in work.ended():
                turn.show("failed" if outcome.error else describe(outcome.value))  # type: ignore[arg-type]
                tell(str(turn.host), turn.now)
        except KeyboardInterrupt:
            raise Interrupted(work.cut_all()) from None
    for turn in work.turns:
        if turn.bug:
            raise turn.bug
    return [turn.outcome for turn in work.turns if turn.outcome]


def values(outcomes: Sequence[Outcome[T]], doing: str, say: Say) -> list[T]:
    """Return the values of all hosts.

    Raises:
        ClusterError: at least one failed; all failures are said before, a line each.
    """
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

    @property
    def left_s(self) -> float:
        return self.ends_at - time.monotonic()

    def cut(self) -> None:
        if self.remote:
            self.remote.abandon()


@dataclass
class _Work(Generic[T]):
    """The work on all hosts."""

    settings: Settings
    act: Act[T]
    timeout_s: float
    turns: Sequence[_Turn[T]]
    _slots: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(MOST_AT_ONCE))
    _ended: queue.SimpleQueue[tuple[_Turn[T], Outcome[T]]] = field(default_factory=queue.SimpleQueue)

    def run(self, turn: _Turn[T]) -> None:
        """Do the work on one host, in a thread of its own."""
        with self._slots:
            turn.ends_at = time.monotonic() + self.timeout_s
            self._ended.put((turn, self._outcome(turn)))

    def _outcome(self, turn: _Turn[T]) -> Outcome[T]:
        turn.show("connects")
        try:
            with connected(self.settings, turn.host) as turn.remote:
                turn.show("connected")
                return Outcome(turn.host, self.act(turn.remote, turn.show))
        except ClusterError as error:
            is_named = str(error).startswith(f"{turn.host}: ")
            return Outcome(turn.host, error=error if is_named else type(error)(f"{turn.host}: {error}"))
        except BaseException as bug:
            turn.bug = bug
            return Outcome(turn.host, error=ClusterError(f"{turn.host}: {type(bug).__name__}"))

    def ended(self) -> Iterator[tuple[_Turn[T], Outcome[T]]]:
        """Yield each host when it has ended or its time is over, until all have."""
        while waiting := [turn for turn in self.turns if not turn.outcome]:
            try:
                came = [self._ended.get(timeout=max(0.0, min(_LOOK_S, *(turn.left_s for turn in waiting))))]
            except queue.Empty:
                came = [(turn, self._cut_off(turn)) for turn in waiting if turn.left_s <= 0]
            for turn, outcome in came:
                if not turn.outcome:  # else it was cut off before
                    turn.outcome = outcome
                    yield turn, outcome

    def _cut_off(self, turn: _Turn[T]) -> Outcome[T]:
        turn.cut()
        error = ClusterError(
            f"{turn.host}: not done within {self.timeout_s:g} s, cut off while it said: {turn.now}; it may still be at "
            "work: look there, or give it longer (--timeout), then run this again"
        )
        return Outcome(turn.host, error=error)

    def cut_all(self) -> str:
        """Cut off what goes on, and say what became of each host."""
        open_ = [turn for turn in self.turns if not turn.outcome]
        for turn in open_:
            turn.cut()
        hosts = {
            "done": [turn for turn in self.turns if turn.outcome and not turn.outcome.error],
            "failed": [turn for turn in self.turns if turn.outcome and turn.outcome.error],
            "not begun": [turn for turn in open_ if not turn.remote],
            "cut off, where what was begun may go on until its time limit": [turn for turn in open_ if turn.remote],
        }
        parts = [f"{how}: {', '.join(str(turn.host) for turn in which)}" for how, which in hosts.items() if which]
        return "; ".join(["interrupted", *parts])
