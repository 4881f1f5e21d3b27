"""The soak: publish known messages while workers, broker and network are broken at random, then count.

A message counts as lost when it was neither worked on nor stands in the failed queue. One that was worked on twice must
be explained by a break between its two runs: at-least-once is the promise, and these are its "more than once".
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cluster.settings import ROOT
from scripts.broker import open_blocking
from scripts.errors import ClusterError
from scripts.queues import failed_queue
from tests.conftest import Broker
from tests.soak.wire import Wire

ACTIONS = Path(__file__).with_name("actions.py")
DONE_WITHIN_S = 180


@dataclass(frozen=True)
class Break:
    """Something that was broken: what, whose (a worker's process id, 0 for all), and from when to when (epoch)."""

    what: str
    pid: int
    began: float
    ended: float


@dataclass(frozen=True)
class Run:
    """One success of a message: the worker's process id and the time (epoch seconds)."""

    pid: int
    at: float


@dataclass
class Tally:
    """What became of the messages."""

    published: set[str]
    runs: dict[str, list[Run]]
    failed: list[str]
    breaks: list[Break]
    lost: set[str] = field(default_factory=set)
    twice: dict[str, str] = field(default_factory=dict)
    unexplained: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.lost = self.published - self.runs.keys() - set(self.failed)
        for body, found in self.runs.items():
            if len(found) > 1:
                why = self._why(sorted(found, key=lambda run: run.at))
                self.twice[body] = why
                if not why:
                    self.unexplained.add(body)

    def _why(self, found: list[Run]) -> str:
        first, last = found[0], found[-1]
        between = (one for one in self.breaks if one.began <= last.at and one.ended >= first.at - 1)
        return next((one.what for one in between if one.pid in (0, first.pid)), "")

    def __str__(self) -> str:
        by_cause: dict[str, int] = defaultdict(int)
        for why in self.twice.values():
            by_cause[why or "nothing"] += 1
        twice = ", ".join(f"{count} after {cause}" for cause, count in sorted(by_cause.items())) or "none"
        return (
            f"{len(self.published):,} published, {len(self.runs):,} worked on, {len(self.failed):,} in the failed "
            f"queue, {len(self.lost)} lost; worked on twice: {len(self.twice)} ({twice}); {len(self.breaks)} breaks"
        )


class Soak:
    """Workers behind a wire, a publisher behind the same, and a dice."""

    def __init__(self, broker: Broker, folder: Path, queue: str, seed: int, workers: int = 4) -> None:
        self.broker, self.folder, self.queue = broker, folder, queue
        self.random = random.Random(seed)
        self.wire = Wire(broker.settings.queue.port)
        self.url = f"amqp://127.0.0.1:{self.wire.port}"
        self.breaks: list[Break] = []
        self.ids = iter(range(1, 1_000_000))
        self.workers = [self._start_worker(kept_alive=number % 2 == 1) for number in range(workers)]

    def run(self, messages: int, seconds: float) -> Tally:
        """Publish, break things for so long, let it come to rest, count."""
        items = self.folder / "items.txt"
        items.write_text("".join(f"{number:07d}\n" for number in range(messages)))
        publisher = self._publisher(items, resume=False)
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            # Not a wait for something: the pace at which things break.
            time.sleep(self.random.uniform(0.5, 2))
            self._break_something()
            publisher = self._kept_going(publisher, items)
        while publisher.wait(DONE_WITHIN_S):
            publisher = self._publisher(items, resume=True)
        self._come_to_rest(messages)
        return Tally({f"{n:07d}" for n in range(messages)}, self._runs(), list(self._failed()), self.breaks)

    def close(self) -> None:
        """End all that was started."""
        for worker, _ in self.workers:
            worker.kill()
            worker.wait()
        self.wire.close()

    def _publisher(self, items: Path, resume: bool) -> subprocess.Popen[bytes]:
        arguments = ["publish", "--file", str(items), "-q", self.queue, "-u", self.url]
        arguments += ["--resume"] if resume else ["--create"]
        log = (self.folder / "publisher.log").open("ab")
        return subprocess.Popen([sys.executable, "-m", "invoke", *arguments], cwd=ROOT, stdout=log, stderr=log)

    def _kept_going(self, publisher: subprocess.Popen[bytes], items: Path) -> subprocess.Popen[bytes]:
        return self._publisher(items, resume=True) if publisher.poll() else publisher

    def _start_worker(self, kept_alive: bool) -> tuple[subprocess.Popen[bytes], bool]:
        number = next(self.ids)
        flags = ["--keep-alive", "--framing", "netstring"] if kept_alive else []
        action = [sys.executable, str(ACTIONS), str(self.folder / f"done.{number}")]
        command = [
            str(ROOT / "scripts" / "cluster_worker"), "-u", self.url, "-q", self.queue, "-j", "2", "--breaker", "0",
            "--backoff", "1", "--attempts", "20", *flags, "--", *action, *(["kept-alive"] if kept_alive else []),
        ]  # fmt: skip
        log = (self.folder / f"worker.{number}.log").open("ab")
        environ = os.environ | {"CLUSTER_WORKER_PYTHON": sys.executable}
        return subprocess.Popen(command, stdout=log, stderr=log, env=environ), kept_alive

    def _break_something(self) -> None:
        what = self.random.choice(BREAKS)
        began = time.time()
        pid = what(self)
        self.breaks.append(Break(what.__name__.strip("_").replace("_", " "), pid, began, time.time()))

    def _kill_worker(self) -> int:
        return self._replace_worker(signal.SIGKILL)

    def _stop_worker(self) -> int:
        return self._replace_worker(signal.SIGTERM)

    def _replace_worker(self, how: signal.Signals) -> int:
        place = self.random.randrange(len(self.workers))
        worker, kept_alive = self.workers[place]
        worker.send_signal(how)
        worker.wait(60)
        self.workers[place] = self._start_worker(kept_alive)
        return worker.pid

    def _pause_worker(self) -> int:
        worker, _ = self.random.choice(self.workers)
        worker.send_signal(signal.SIGSTOP)
        time.sleep(self.random.uniform(1, 4))
        worker.send_signal(signal.SIGCONT)
        return worker.pid

    def _cut_network(self) -> int:
        self.wire.cut()
        time.sleep(self.random.uniform(0.1, 3))
        self.wire.mend()
        return 0

    def _kill_broker(self) -> int:
        self.broker.kill()
        self.broker.start()
        return 0

    def _pause_broker(self) -> int:
        with self.broker.paused():
            time.sleep(self.random.uniform(1, 4))
        return 0

    def _come_to_rest(self, messages: int) -> None:
        """Wait until every message has an outcome, as long as outcomes keep coming."""
        found, since = -1, time.monotonic()
        while (now := len(self._runs().keys() | set(self._failed()))) < messages:
            if now > found:
                found, since = now, time.monotonic()
            elif time.monotonic() - since > DONE_WITHIN_S:
                return
            time.sleep(0.5)

    def _runs(self) -> dict[str, list[Run]]:
        runs: dict[str, list[Run]] = defaultdict(list)
        for path in self.folder.glob("done.*"):
            for line in path.read_text().splitlines():
                body, pid, at = line.split()
                runs[body].append(Run(int(pid), float(at)))
        return runs

    def _failed(self) -> Iterator[str]:
        """The bodies in the failed queue; looking at them gives them back."""
        try:
            connection = open_blocking(self.broker.url)
        except ClusterError:
            return
        channel = connection.channel()
        while (got := channel.basic_get(failed_queue(self.queue)))[0]:
            yield got[2].decode()
        connection.close()


BREAKS: list[Callable[[Soak], int]] = [
    Soak._kill_worker,
    Soak._kill_worker,
    Soak._stop_worker,
    Soak._pause_worker,
    Soak._cut_network,
    Soak._kill_broker,
    Soak._pause_broker,
]
