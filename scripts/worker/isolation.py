"""Isolation of suspects: a message whose worker was lost before, perhaps because of it, is run with nothing beside it.

A worker that dies takes all it holds with it, so the broker's delivery count accuses the innocent as well. So a
suspect is moved to the queue `<queue>.alone`; a worker takes it from there only when nothing else runs, and runs it at
once. What comes back from there to the work queue has taken its worker down: it expires there as soon as the
broker has it back, and is dead-lettered with its mark.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from scripts.amqp.queues import alone_queue
from scripts.worker import headers
from scripts.worker.consumer import Consumer
from scripts.worker.deliveries import Run
from scripts.worker.settling import Settler
from scripts.worker.verdicts import worker_lost


@dataclass(eq=False)
class Isolation:
    """Sees one suspect at a time through: it waits until nothing runs, is moved, taken, and run.

    `start` runs what was taken, or hands it back; `resume` tells that other messages may run again.
    """

    consumer: Consumer
    settler: Settler
    is_idle: Callable[[], bool]
    start: Callable[[Run], None]
    resume: Callable[[], None]
    _suspect: Run | None = None
    _step: Literal["", "waiting", "moving", "taking", "running"] = ""

    @property
    def busy(self) -> bool:
        """True while a suspect is being seen through: nothing else is to be started."""
        return bool(self._step)

    def take(self, run: Run) -> None:
        """See this suspect through."""
        self._suspect, self._step = run, "waiting"
        self.go_on()

    def go_on(self) -> None:
        """Move the suspect that waits, if nothing runs now."""
        if self._step == "waiting" and self._suspect and self.is_idle():
            self._step = "moving"
            self.settler.isolate(self._suspect)

    def over(self, run: Run) -> None:
        """Take the suspect that was moved, or leave the one that is settled, or whose message was lost as it ran."""
        if run is self._suspect and self._step == "moving":
            self._suspect, self._step = None, "taking"
            self.consumer.get(alone_queue(self.consumer.queue), self._got)
        elif run is self._suspect and self._step == "running":
            self._leave()
            self.resume()

    def withdraw(self) -> list[Run]:
        """Return the suspect that still waits, which is no longer wanted here."""
        suspects = [self._suspect] if self._suspect and self._step == "waiting" else []
        if suspects:
            self._leave()
        return suspects

    def lost(self) -> None:
        """Drop, with the connection, a suspect that only awaits its settlement; one that runs goes on."""
        run = self._suspect
        if not (self._step == "running" and run and run.begun and run.outcome is None):
            self._leave()

    def _leave(self) -> None:
        self._suspect, self._step = None, ""

    def _got(self, run: Run | None) -> None:
        """Run what was there: usually the message that was moved, but any other suspect will do."""
        if run is None:
            self._leave()
            self.resume()
            return
        past = headers.read_past(run.properties, run.redelivered, alone_queue(self.consumer.queue))
        run.attempt, run.alone = past.attempts, True
        if past.lost:
            self.settler.fail_unrun(run, worker_lost(run.attempt))
            self.consumer.get(alone_queue(self.consumer.queue), self._got)
        else:
            self._suspect, self._step = run, "running"
            self.start(run)
