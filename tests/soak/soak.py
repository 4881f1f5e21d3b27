"""The soak: publish known messages while workers, publisher, broker and network are broken at random, then count.

A message counts as lost when it was neither worked on nor stands in the failed queue. One that was worked on twice must
be explained by what was broken: at-least-once is the promise, and these are its "more than once".
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from pika.exceptions import ChannelClosedByBroker

from scripts.amqp.broker import open_blocking
from scripts.amqp.queues import PAUSES_S, alone_queue, failed_queue, retry_queue
from scripts.worker.headers import REASON
from tests.conftest import Broker
from tests.integration.network import Network
from tests.soak.crew import Crew, Publishing
from tests.soak.tally import Break, Effect, Tally

WORKERS = 4
MESSAGES_A_SECOND = 150
# To break each thing once takes about so long: publishing is to be under way meanwhile.
LEAST_S = 20
MESSAGE_BYTES = 150  # on the wire, with its id and what the protocol adds

# Both sides give a silent connection up within three heartbeats.
HEARTBEAT_S = 6
SHORT_PAUSE_S = (1, 4)
LONG_PAUSE_S = 3 * HEARTBEAT_S
# Breaks that last so long have no place in a short soak.
LONG_BREAKS_FROM_S = 60

AT_REST_WITHIN_S = 180


class Soak:
    """Workers behind a network, a publisher behind a slow one, and a dice."""

    def __init__(self, broker: Broker, folder: Path, queue: str, seed: int, seconds: int) -> None:
        self.broker, self.queue, self.seconds = broker, queue, seconds
        self.random = random.Random(seed)
        self.bodies = [f"{number:07d}" for number in range(max(seconds, LEAST_S) * MESSAGES_A_SECOND)]
        items = folder / f"{queue}.txt"
        items.write_text("".join(f"{body}\n" for body in self.bodies))
        self.networks = (Network(broker.url), Network(broker.url, MESSAGES_A_SECOND * MESSAGE_BYTES))
        for network in self.networks:
            network.up()
        near, slow = (f"{network.url}?heartbeat={HEARTBEAT_S}" for network in self.networks)
        self.crew = Crew(near, queue, folder, WORKERS)
        self.publishing = Publishing(slow, queue, items)
        self.breaks: list[Break] = []
        self.frozen: set[int] = set()

    def run(self) -> Tally:
        """Break things for so long, and each at least once; let all come to rest; count."""
        ends = time.monotonic() + self.seconds
        kinds = [*SHORT_BREAKS, *(LONG_BREAKS if self.seconds >= LONG_BREAKS_FROM_S else ())]
        while time.monotonic() < ends:
            for what in self.random.sample(kinds, len(kinds)):
                self._go_on(what)
        self._come_to_rest()
        for number in self.crew.numbers:
            self.crew.stop(number)
        return Tally(frozenset(self.bodies), self.crew.runs(), list(self._failed()), self._left(), self.breaks)

    def close(self) -> None:
        """End all that was started."""
        self.publishing.close()
        self.crew.close()
        for network in self.networks:
            network.down()

    # What is broken

    def _go_on(self, what: Callable[[Soak], None]) -> None:
        # Not a wait for something: the pace at which things break.
        time.sleep(self.random.uniform(0.3, 2))
        self.crew.check()
        self.publishing.tick()
        what(self)

    def _meanwhile(self, kinds: Sequence[Callable[[Soak], None]]) -> None:
        """Break further things for as long as a long pause lasts."""
        ends = time.monotonic() + LONG_PAUSE_S
        while time.monotonic() < ends:
            self._go_on(self.random.choice(kinds))

    def _kill_worker(self) -> None:
        number, began = self._some_worker(), time.time()
        self.crew.kill(number)
        self._broke("worker killed", began, "loses", number)
        self.crew.add()

    def _stop_worker(self) -> None:
        number, began = self._some_worker(), time.time()
        self.crew.stop(number)
        self._broke("worker stopped", began, "nothing", number)
        self.crew.add()

    def _pause_worker(self) -> None:
        number, began = self._some_worker(), time.time()
        self.crew.signal(number, signal.SIGSTOP)
        time.sleep(self.random.uniform(*SHORT_PAUSE_S))
        self.crew.signal(number, signal.SIGCONT)
        self._broke("worker paused", began, "delays", number)

    def _pause_worker_for_long(self) -> None:
        number, began = self._some_worker(), time.time()
        self.crew.signal(number, signal.SIGSTOP)
        self.frozen.add(number)
        self._meanwhile(SHORT_BREAKS)
        self.frozen.remove(number)
        self.crew.signal(number, signal.SIGCONT)
        self._broke("worker paused for long", began, "loses", number)

    def _kill_publisher(self) -> None:
        began = time.time()
        self.publishing.kill()
        self._broke("publisher killed", began, "nothing", publisher=True)

    def _cut_network(self) -> None:
        """First nothing arrives any more, then connections end."""
        began = time.time()
        for network in self.networks:
            network.fall_silent()
        time.sleep(self.random.uniform(0, 1))
        for network in self.networks:
            network.down()
        gone = time.time()
        time.sleep(self.random.uniform(0.1, 3))
        for network in self.networks:
            network.up()
        self._broke("network cut", began, "loses", *self.crew.numbers, publisher=True, gone=gone)

    def _silence_network(self) -> None:
        began = time.time()
        for network in self.networks:
            network.fall_silent()
        there = self.crew.numbers
        self._meanwhile(WORKER_BREAKS)
        for network in self.networks:
            network.down()
            network.up()
        self._broke("network silent", began, "loses", *there, *self.crew.numbers, publisher=True)

    def _kill_broker(self) -> None:
        began, there = time.time(), self.crew.numbers
        self.broker.kill()
        gone = time.time()
        self.random.choice(WORKER_BREAKS)(self)
        self.broker.start()
        self._broke("broker killed", began, "loses", *there, publisher=True, gone=gone)

    def _pause_broker(self) -> None:
        began = time.time()
        with self.broker.paused():
            time.sleep(self.random.uniform(*SHORT_PAUSE_S))
        self._broke("broker paused", began, "delays", *self.crew.numbers)

    def _some_worker(self) -> int:
        return self.random.choice([number for number in self.crew.numbers if number not in self.frozen])

    def _broke(self, what: str, began: float, effect: Effect, *workers: int, **more: Any) -> None:
        self.breaks.append(Break(what, began, time.time(), effect, frozenset(workers), **more))

    # The end

    def _come_to_rest(self) -> None:
        """Wait until nothing is left to do, as long as it gets less."""
        left, since = self._undone(), time.monotonic()
        while left:
            assert time.monotonic() - since < AT_REST_WITHIN_S, f"nothing happens any more: {left}\n{self._words()}"
            time.sleep(0.5)
            self.crew.check()
            self.publishing.tick()
            was, left = left, self._undone()
            since = since if left == was else time.monotonic()

    def _undone(self) -> str:
        """What is still to be done, for people; empty when nothing is."""
        with closing(open_blocking(self.broker.url)) as connection:
            work = connection.channel().queue_declare(self.queue, passive=True).method
        done = {body for body, runs in self.crew.runs().items() if any(run.verdict == "ok" for run in runs)}
        # One whose workers were lost in each attempt is in the failed queue, too.
        to_do = len({*self.bodies} - done - {body for body, _ in self._failed()})
        left = {
            "published": not self.publishing.done,
            f"{to_do} worked on or in the failed queue": to_do > 0,
            f"{self._left()} out of the queues": self._left() > 0,
            f"{WORKERS - work.consumer_count} workers consuming": work.consumer_count != WORKERS,
        }
        return ", ".join(f"not {what}" for what, is_so in left.items() if is_so)

    def _left(self) -> int:
        """Messages in the queues that must be empty at the end."""
        waiting = (retry_queue(self.queue, pause) for pause in PAUSES_S)
        return sum(map(self._count, (self.queue, alone_queue(self.queue), *waiting)))

    def _count(self, queue: str) -> int:
        with closing(open_blocking(self.broker.url)) as connection:
            try:
                return int(connection.channel().queue_declare(queue, passive=True).method.message_count)
            except ChannelClosedByBroker:
                return 0

    def _failed(self) -> Iterator[tuple[str, str]]:
        """Body and reason of each message in the failed queue; looking at them gives them back."""
        with closing(open_blocking(self.broker.url)) as connection:
            channel = connection.channel()
            while (got := channel.basic_get(failed_queue(self.queue)))[0]:
                yield got[2].decode(), got[1].headers[REASON]

    def _words(self) -> str:
        words = (f"worker {number}:\n{self.crew.last_words(number)}" for number in self.crew.numbers)
        return "\n".join([*words, f"publisher:\n{self.publishing.last_words()}"])


# These need neither broker nor network.
WORKER_BREAKS: tuple[Callable[[Soak], None], ...] = (
    Soak._kill_worker,
    Soak._stop_worker,
    Soak._pause_worker,
    Soak._kill_publisher,
)
SHORT_BREAKS = (*WORKER_BREAKS, Soak._cut_network, Soak._kill_broker, Soak._pause_broker)
LONG_BREAKS = (Soak._pause_worker_for_long, Soak._silence_network)
