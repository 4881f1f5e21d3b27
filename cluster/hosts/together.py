"""Something done on all hosts at once: each under its own time limit, none in the way of another."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from cluster.hosts import board
from cluster.hosts.host import Host
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
    """What came of one host: a value, or an error whose line begins with its name."""

    host: Host
    value: T | None = None
    error: ClusterError | None = None


@dataclass
class _Turn(Generic[T]):
    """One host's work while it goes on."""

    host: Host
    now: str = "waits for its turn"
    started: float | None = None
    remote: Remote | None = None
    outcome: Outcome[T] | None = None
    bug: BaseException | None = None

    def show(self, now: str) -> None:
        self.now = now


@dataclass
class _Round(Generic[T]):
    """What all turns share."""

    settings: Settings
    act: Act[T]
    timeout_s: float
    slots: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(MOST_AT_ONCE))
    ended: queue.SimpleQueue[tuple[_Turn[T], Outcome[T]]] = field(default_factory=queue.SimpleQueue)


def together(
    settings: Settings, hosts: Sequence[Host], act: Act[T], *, doing: str, timeout_s: float, say: Say,
    told: Callable[[T], str] = lambda value: "done", table: bool = True,
) -> list[Outcome[T]]:  # fmt: skip
    """Connect to every host and call `act(remote, show)` there; what came of each, in the order of `hosts`.

    A terminal shows a live table of what `show` was told last (unless not `table`), else each host gets a line when it
    ends; `told` says what its value means. A host that takes longer than `timeout_s` is cut off; how far it came over
    there is then unknown. A bug in `act` is raised when all others have ended.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; it says which hosts are done.
    """
    turns: list[_Turn[T]] = [_Turn(host) for host in hosts]
    shared = _Round(settings, act, timeout_s)
    for turn in turns:
        threading.Thread(target=_work, args=(turn, shared), daemon=True).start()
    with board.shown(doing, turns, table, say) as tell:
        try:
            _wait(turns, shared, partial(_tell, told, tell))
        except KeyboardInterrupt:
            _cut_all(turns)
            raise Interrupted(_how_far(turns)) from None
    for turn in turns:
        if turn.bug:
            raise turn.bug
    return [turn.outcome for turn in turns if turn.outcome]


def values(outcomes: Sequence[Outcome[T]], doing: str, say: Say) -> list[T]:
    """The values of all hosts.

    Raises:
        ClusterError: at least one failed; all failures are said before, a line each.
    """
    failed = [outcome for outcome in outcomes if outcome.error]
    for outcome in failed:
        say(str(outcome.error))
    refuse(doing, [outcome.host for outcome in failed], len(outcomes))
    return [outcome.value for outcome in outcomes if outcome.value is not None]


def refuse(doing: str, failed: Sequence[Host], count: int) -> None:
    """Raise ClusterError when hosts failed, with their names."""
    if failed:
        names = ", ".join(map(str, failed))
        raise ClusterError(f"{doing}: {len(failed)} of {count} hosts failed: {names}: mend that and run it again")


def _work(turn: _Turn[T], shared: _Round[T]) -> None:
    with shared.slots:
        turn.started = time.monotonic()
        turn.show("connects")
        try:
            outcome = Outcome(turn.host, _act(turn, shared))
        except ClusterError as error:
            outcome = Outcome(turn.host, error=_named(turn.host, error))
        except BaseException as bug:
            turn.bug = bug
            outcome = Outcome(turn.host, error=ClusterError(f"{turn.host}: {type(bug).__name__}"))
    shared.ended.put((turn, outcome))


def _act(turn: _Turn[T], shared: _Round[T]) -> T:
    with connected(shared.settings, turn.host) as remote:
        turn.remote = remote
        turn.show("connected")
        return shared.act(remote, turn.show)


def _named(host: Host, error: ClusterError) -> ClusterError:
    return error if str(error).startswith(f"{host}: ") else type(error)(f"{host}: {error}")


def _wait(turns: Sequence[_Turn[T]], shared: _Round[T], tell: Callable[[_Turn[T]], None]) -> None:
    while waiting := [turn for turn in turns if not turn.outcome]:
        try:
            turn, outcome = shared.ended.get(timeout=_until_the_next_limit(waiting, shared.timeout_s))
            came = [(turn, outcome)] if not turn.outcome else []
        except queue.Empty:
            came = [(turn, _cut(turn, shared.timeout_s)) for turn in waiting if _left_s(turn, shared.timeout_s) <= 0]
        for turn, outcome in came:
            turn.outcome = outcome
            tell(turn)


def _until_the_next_limit(waiting: Sequence[_Turn[Any]], timeout_s: float) -> float:
    return max(0.0, min(_LOOK_S, *(_left_s(turn, timeout_s) for turn in waiting)))


def _left_s(turn: _Turn[Any], timeout_s: float) -> float:
    return timeout_s if turn.started is None else turn.started + timeout_s - time.monotonic()


def _cut(turn: _Turn[T], timeout_s: float) -> Outcome[T]:
    if turn.remote:
        turn.remote.abandon()
    error = ClusterError(
        f"{turn.host}: not done within {timeout_s:g} s, cut off while it said: {turn.now}; it may still be at work: "
        "look there, or give it longer (--timeout), then run this again"
    )
    return Outcome(turn.host, error=error)


def _cut_all(turns: Sequence[_Turn[Any]]) -> None:
    for turn in turns:
        if turn.remote and not turn.outcome:
            turn.remote.abandon()


def _how_far(turns: Sequence[_Turn[Any]]) -> str:
    """What became of each host when all were left."""
    open_ = [turn for turn in turns if not turn.outcome]
    hosts = {
        "done": [turn for turn in turns if turn.outcome and not turn.outcome.error],
        "failed": [turn for turn in turns if turn.outcome and turn.outcome.error],
        "not begun": [turn for turn in open_ if not turn.remote],
        "cut off, where what was begun may go on until its time limit": [turn for turn in open_ if turn.remote],
    }
    told = [f"{how}: {', '.join(str(turn.host) for turn in which)}" for how, which in hosts.items() if which]
    return "; ".join(["interrupted", *told])


def _tell(told: Callable[[T], str], tell: Callable[[str, str], None], turn: _Turn[T]) -> None:
    if turn.outcome:
        turn.now = "failed" if turn.outcome.error else told(turn.outcome.value)  # type: ignore[arg-type]
        tell(str(turn.host), turn.now)
