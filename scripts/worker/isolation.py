"""Running a suspect: a message whose worker was lost before, perhaps because of it, is run with nothing beside it.

A worker that dies takes all it holds with it, so the broker's delivery count accuses the innocent as well. So a
suspect is moved to the queue `<queue>.alone`; a worker takes it from there only when nothing else runs, and runs it at
once. What comes back from there to the work queue has taken its worker down: it expires there as soon as the
broker has it back, and is dead-lettered with its mark.
"""

from __future__ import annotations

from collections.abc import Callable

from scripts.amqp.queues import alone_queue
from scripts.worker import headers
from scripts.worker.consumer import Consumer
from scripts.worker.deliveries import Delivery
from scripts.worker.runs import Run
from scripts.worker.settling import Settler
from scripts.worker.verdicts import worker_lost


class Solo:
    """Sees one suspect at a time through: it waits until nothing runs, is moved, taken, and run."""

    def __init__(
        self,
        queue: str,
        consumer: Consumer,
        settler: Settler,
        idle: Callable[[], bool],
        start: Callable[[Run], None],
        over: Callable[[], None],
    ) -> None:
        """`idle`: nothing runs; `start` runs what was taken, or hands it back; `over`: other messages may run again."""
        self._queue = alone_queue(queue)
        self._consumer = consumer
        self._settler = settler
        self._idle = idle
        self._start = start
        self._over = over
        self._waiting: Run | None = None
        self._moving: Run | None = None
        self._running: Run | None = None
        self._taking = False

    @property
    def busy(self) -> bool:
        """A suspect is being seen through: nothing else is to be started."""
        return bool(self._waiting or self._moving or self._taking or self._running)

    def take(self, run: Run) -> None:
        """It is this one's turn."""
        self._waiting = run
        self.go_on()

    def go_on(self) -> None:
        """Something ended: perhaps nothing runs now."""
        if self._waiting and self._idle():
            run, self._waiting = self._waiting, None
            self._moving = run
            self._settler.isolate(run)

    def settled(self, run: Run) -> None:
        """A message was settled: the suspect was moved, or is done."""
        if run is self._moving:
            self._moving, self._taking = None, True
            self._consumer.get(self._queue, self._got)
        elif run is self._running:
            self.ended(run)

    def ended(self, run: Run) -> None:
        """The run is over, and its message is settled or was lost."""
        if run is self._running:
            self._running = None
            self._over()

    def withdraw(self) -> Run | None:
        """The suspect that still waits, which is no longer wanted here."""
        run, self._waiting = self._waiting, None
        return run

    def lost(self) -> None:
        """The connection is gone; a suspect that runs, runs on, and one that only has to be settled is nobody's now."""
        self._waiting = self._moving = None
        self._taking = False
        if self._running and not self._running.in_action:
            self._running = None

    def _got(self, delivery: Delivery | None) -> None:
        """Mostly the one that was moved, but another worker's does as well."""
        if delivery is None:
            self._taking = False
            self._over()
            return
        past = headers.handled(delivery.properties, delivery.redelivered, self._queue)
        run = Run(delivery, headers.id_of(delivery.properties), past.attempts, alone=True)
        if past.lost:
            self._settler.fail_unrun(run, worker_lost(run.attempt))
            self._consumer.get(self._queue, self._got)
        else:
            self._taking, self._running = False, run
            self._start(run)
