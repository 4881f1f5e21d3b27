"""Kept-alive actions: programs that are started once and get message after message (docs/keep-alive.md)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from scripts.action.cgroup import OutOfMemoryKills
from scripts.action.children import exit_watch, spawn_piped, why_unstartable
from scripts.action.jobs import KILLED, Done, Job, Outcome, RunLimits
from scripts.action.kept_life import KeepAlive, Life, Run
from scripts.action.kept_protocol import FRAMINGS, PROTOCOL
from scripts.action.output import say
from scripts.backoff import growing_s
from scripts.errors import ClusterError
from scripts.event_loop import EventLoop, Timer

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 60.0

# So many starts in a row that came to nothing, while no other child works: the fault is the action's or the host's.
FAILED_STARTS = 3

# When a program has said nothing for so long, its author should know what is waited for.
NOTICE_AFTER_S = 10.0

# So often it is looked whether it waits for a message, as a program does that knows nothing of all this.
_LOOK_EVERY_S = 1.0

_EXPECTED = (
    f"with --keep-alive an action says `ready {PROTOCOL}` on file descriptor 3 and answers each message there "
    "(docs/keep-alive.md); leave --keep-alive out for one that is started for each message"
)


class Place:
    """A place in which one child lives after the other; counts what went wrong in a row."""

    def __init__(self, loop: EventLoop, fill: Callable[[Place], None]) -> None:
        self.life: Life | None = None
        self.next = Timer(loop, partial(fill, self))
        self.faults = self.failed_starts = 0

    def record_exit(self, life: Life) -> float:
        """Judge a life that is over; return the pause before the next one, in seconds."""
        self.life = None
        lasted = life.answered > 0 or life.lived_s > LONGEST_PAUSE_S
        self.faults = (0 if lasted else self.faults) + life.faulty
        worked = life.answered or (life.was_ready and not life.left_unread)
        self.failed_starts = 0 if worked else self.failed_starts + 1
        return growing_s(FIRST_PAUSE_S, self.faults, LONGEST_PAUSE_S)


class KeptAlive:
    """The Runner of `cluster_worker --keep-alive`."""

    def __init__(
        self, loop: EventLoop, argv: Sequence[str], environment: Mapping[str, str], limits: RunLimits, keep: KeepAlive
    ) -> None:
        self.loop = loop
        self.watch = exit_watch(loop)
        self.out_of_memory = OutOfMemoryKills()
        variables = {"CLUSTER_KEEP_ALIVE": str(PROTOCOL), "CLUSTER_FRAMING": keep.framing}
        self._program = argv[0]
        self._spawn = partial(spawn_piped, argv, {**environment, **variables}, outputs=3)
        self._limits = limits
        self._keep = keep
        self._frame = FRAMINGS[keep.framing]
        self._places = [Place(loop, self._fill) for _ in range(keep.children)]
        self._waiting: deque[Run] = deque()
        # Set once no child is started any more: what a message becomes that no child has then.
        self._stopped: Outcome | None = None
        self._closed: Callable[[], None] | None = None

    def open(self, changed: Callable[[], None], broken: Callable[[str], None]) -> None:
        """Start the programs; `changed` tells when one is ready, `broken` that none can be started."""
        self._changed, self._broken = changed, broken
        for place in self._places:
            place.next.set(0)
        self.loop.call_later(NOTICE_AFTER_S, self._notice)
        self.loop.call_later(_LOOK_EVERY_S, self._look)

    def start(self, job: Job, done: Done) -> None:
        """Hand the message to a ready child; a body that the framing cannot carry is rejected."""
        try:
            frame = self._frame(job)
        except ClusterError as error:
            self.loop.call_later(0, partial(done, Outcome("rejected", str(error), started_at=time.time())))
        else:
            self.hand_out(Run(job, frame, done))

    def free(self) -> int:
        """Return how many children wait for a message."""
        return len(self._free_lives())

    def kill(self, at_once: bool = False) -> None:
        """End all children; the outcomes of messages in hand are `killed`."""
        self._stop(KILLED)
        for life in self._lives():
            life.kill(at_once)

    def close(self, closed: Callable[[], None]) -> None:
        """Let all children finish: their STDIN ends."""
        self._stop(KILLED)
        self._closed = closed
        for life in self._lives():
            life.finish()
        self._close_when_empty()

    def on_idle(self) -> None:
        """Let the child take a message again; one that waits goes first."""
        if self._waiting:
            self.hand_out(self._waiting.popleft())

    def on_ready(self) -> None:
        """Let the child take a message now."""
        self.on_idle()
        if self.free():
            self._changed()

    def hand_out(self, run: Run) -> None:
        """Give the message to an idle child, or let it wait for one."""
        for life in self._free_lives():
            if life.start(run):
                return
        if self._stopped:
            self.loop.call_later(0, partial(run.done, self._stopped))
        else:
            self._waiting.append(run)

    def on_end(self, life: Life, why: str) -> None:
        """Replace the child, unless we stop or it is of no use."""
        place = next(place for place in self._places if place.life is life)
        pause = place.record_exit(life)
        if self._stopped:
            self._close_when_empty()
        elif place.failed_starts >= FAILED_STARTS and not any(other.was_ready for other in self._lives()):
            came_to = f"the action came to nothing {FAILED_STARTS} times in a row: {why}"
            self._break(came_to if life.was_ready else f"{came_to}; {_EXPECTED}")
        else:
            if life.faulty:
                say(f"kept-alive action: {why}; starting it again in {pause:g} s")
            place.next.set(pause)

    def _fill(self, place: Place) -> None:
        try:
            place.life = Life(self, self._spawn, self._limits, self._keep)
        except (OSError, ValueError) as error:
            self._break(why_unstartable(self._program, error))

    def _break(self, reason: str) -> None:
        self._stop(Outcome("unstartable", reason))
        self._broken(reason)

    def _stop(self, unstarted: Outcome) -> None:
        self._stopped = unstarted
        for place in self._places:
            place.next.stop()
        waiting, self._waiting = self._waiting, deque()
        for run in waiting:
            self.hand_out(run)

    def _close_when_empty(self) -> None:
        if self._closed is not None and not self._lives():
            closed, self._closed = self._closed, None
            closed()

    def _lives(self) -> list[Life]:
        return [place.life for place in self._places if place.life is not None]

    def _free_lives(self) -> list[Life]:
        return [life for life in self._lives() if life.is_free]

    def _look(self) -> None:
        """Break, at once and not after the whole time that a model may take to load, where no model loads."""
        if self._stopped or any(life.was_ready for life in self._lives()):
            return
        if any(life.asks_too_early() for life in self._lives()):
            self._break(f"{self._program} cannot be kept alive: it reads its STDIN before it is ready; {_EXPECTED}")
        else:
            self.loop.call_later(_LOOK_EVERY_S, self._look)

    def _notice(self) -> None:
        if not self._stopped and not any(life.was_ready for life in self._lives()):
            say(f"{self._program} has not said `ready {PROTOCOL}` on file descriptor 3 yet")
