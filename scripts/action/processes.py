"""One process a message: the Runner that cluster_worker uses unless --keep-alive says otherwise."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from scripts.action.cgroup import OutOfMemoryKills
from scripts.action.child import Child, Done
from scripts.action.exit_watch import exit_watch
from scripts.action.jobs import Job, RunLimits
from scripts.event_loop import EventLoop

# Most actions are over before this. Their pipes are read once, at the end, without ever being watched: that saves
# three wake-ups a message.
_WATCH_PIPES_AFTER_S = 0.02


class Processes:
    """Runs `argv` (its first word a path) once a job, at most `jobs` at a time."""

    def __init__(
        self, loop: EventLoop, argv: Sequence[str], jobs: int, limits: RunLimits, tagged: bool = False
    ) -> None:
        self.loop = loop
        self.argv = list(argv)
        self.limits = limits
        self.tagged = tagged
        self.watch = exit_watch(loop)
        self.out_of_memory = OutOfMemoryKills()
        self._jobs = jobs
        self._children: set[Child] = set()
        self._sweeping = False

    def open(self, changed: Callable[[], None], broken: Callable[[str], None]) -> None:
        """A process a message needs nothing beforehand: all are free from the start."""
        self._changed = changed

    def start(self, job: Job, done: Done) -> None:
        """Run the job; `done` is called once, from the loop."""
        child = Child(self, job, done)
        self._children.add(child)
        child.start()
        if not self._sweeping:
            self._sweeping = True
            self.loop.call_later(_WATCH_PIPES_AFTER_S, self._watch_pipes)

    def succeeded(self, child: Child) -> None:
        """It has exited, and all is well: the next one may start before this one's output is passed on."""
        self._children.discard(child)
        self._changed()

    def ended(self, child: Child) -> None:
        """It runs no more."""
        self._children.discard(child)

    def free(self) -> int:
        """How many more jobs can be started now."""
        return self._jobs - len(self._children)

    def kill(self) -> None:
        """End what runs; the outcomes are `killed`."""
        for child in list(self._children):
            child.end("killed", "stopped with the worker")

    def close(self, closed: Callable[[], None]) -> None:
        """No process outlives its run: nothing is left to be closed."""
        closed()

    def _watch_pipes(self) -> None:
        """Watch the pipes of those that have run for a while; look again as long as there are younger ones."""
        old = time.monotonic() - _WATCH_PIPES_AFTER_S
        for child in self._children:
            if child.started <= old:
                child.watch_pipes()
        self._sweeping = any(child.started > old for child in self._children)
        if self._sweeping:
            self.loop.call_later(_WATCH_PIPES_AFTER_S, self._watch_pipes)
