"""What a kept-alive action is worth: the same worker and broker, with and without; prints ratios and the machine.

    .venv/bin/python benchmarks/keep_alive.py --url amqp://127.0.0.1:5672

Two comparisons, each `--rounds` times in turn, so that what else the machine does hits both alike; the median counts:

- an R action that reads a line, kept alive, beside Rscript started for each message (to reach: 500 x)
- a Python action, kept alive, beside amqp-consume, which starts `cat` for each message (to reach: 8 x)

All take their messages from one queue, 100 in advance. A rate is what left the queue between two looks at it, once the
first messages were through, so no start-up counts. Only the ratios travel to another machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import secrets
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts.broker import open_blocking  # noqa: E402
from scripts.queues import work_declarations  # noqa: E402

PREFETCH = 100
DEADLINE_S = 300

R_EACH = 'line <- readLines(file("stdin"), n = 1)\n'
R_KEPT = """\
verdicts <- file("/dev/fd/3", "w", raw = TRUE)
answer <- function(line) { writeLines(line, verdicts); flush(verdicts) }
messages <- file("stdin", "r")
answer("ready 1")
while (length(line <- readLines(messages, n = 1)) > 0) answer("ok")
"""
PYTHON_KEPT = """\
import sys
with open(3, "w", buffering=1) as verdicts:
    verdicts.write("ready 1\\n")
    for line in sys.stdin:
        verdicts.write("ok\\n")
"""


@dataclass(frozen=True)
class Contestant:
    """A command that consumes, and how many of its messages are counted (a few seconds' worth)."""

    name: str
    command: list[str]
    messages: int


class Queue:
    """The one queue of all contestants."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._connection = open_blocking(url)
        self.server = self._connection._impl.server_properties
        self._channel = self._connection.channel()
        self._declaration = work_declarations(f"benchmark-{secrets.token_hex(4)}", self.server)[0]
        self.name = self._declaration.name

    def fill(self, messages: int) -> None:
        """Have exactly so many messages in it: a new queue each time, since what a contestant held comes back late."""
        self._channel.queue_delete(self.name)
        self._channel.queue_declare(self.name, durable=True, arguments=self._declaration.arguments)
        for number in range(messages):
            self._channel.basic_publish("", self.name, b"message %d" % number)
        self.wait_for(lambda ready: ready == messages)

    def wait_for(self, reached: Any) -> tuple[int, float]:
        """Look until the count of ready messages is so; returns that count and the time."""
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            ready = self._channel.queue_declare(self.name, passive=True).method.message_count
            if reached(ready):
                return ready, time.monotonic()
            time.sleep(0.01)
        raise SystemExit(f"error: {ready} messages are still in {self.name!r} after {DEADLINE_S} s")

    def remove(self) -> None:
        """Leave nothing in the broker."""
        self._channel.queue_delete(self.name)
        self._channel.queue_delete(f"{self.name}.failed")
        self._connection.close()


def rate(queue: Queue, contestant: Contestant) -> float:
    """Messages a second that this command takes through."""
    warm = max(2, contestant.messages // 20)
    queue.fill(PREFETCH + warm + contestant.messages + warm)
    with running(contestant.command):
        before, began = queue.wait_for(lambda ready: ready <= contestant.messages + warm)
        after, ended = queue.wait_for(lambda ready: ready <= warm)
    return (before - after) / (ended - began)


@contextmanager
def running(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def compare(queue: Queue, base: Contestant, kept: Contestant, goal: float, rounds: int) -> None:
    rates: dict[str, list[float]] = {base.name: [], kept.name: []}
    for _ in range(rounds):
        for contestant in (base, kept):
            rates[contestant.name].append(rate(queue, contestant))
    for name, found in rates.items():
        print(f"{name:48} {statistics.median(found):10,.1f} messages/s   ({', '.join(f'{one:,.1f}' for one in found)})")
    ratio = statistics.median(rates[kept.name]) / statistics.median(rates[base.name])
    print(f"{'':48} {ratio:10,.1f} x            to reach: {goal:g} x\n")


def worker(url: str, queue: str, *rest: str) -> list[str]:
    return [sys.executable, "-I", str(ROOT / "scripts"), "cluster_worker", "-u", url, "-q", queue, *rest]


def machine() -> str:
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    return (
        f"{model}, {len(os.sched_getaffinity(0))} cores, Linux {platform.release()}, Python {platform.python_version()}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="amqp://127.0.0.1:5672", help="the broker (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each runs (default: %(default)s)")
    given = parser.parse_args()
    queue = Queue(given.url)
    print(f"{machine()}, RabbitMQ {queue.server['version']}, load {os.getloadavg()[0]:.1f} at the start\n")
    kept = (given.url, queue.name, "--prefetch", str(PREFETCH), "--keep-alive")
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("each.r", R_EACH), ("kept.r", R_KEPT), ("kept.py", PYTHON_KEPT)):
            Path(folder, name).write_text(text)
        try:
            if rscript := shutil.which("Rscript"):
                each = Contestant("Rscript a message", worker(given.url, queue.name, "--prefetch", str(PREFETCH),
                                                              rscript, f"{folder}/each.r"), 20)  # fmt: skip
                alive = Contestant("R, kept alive", worker(*kept, rscript, f"{folder}/kept.r"), 20_000)
                compare(queue, each, alive, 500, given.rounds)
            else:
                print("R is not installed here: its comparison is left out\n")
            if tool := shutil.which("amqp-consume"):
                command = [tool, "-u", given.url, "-q", queue.name, "-p", str(PREFETCH), "cat"]
                each = Contestant("amqp-consume cat", command, 2_000)
                alive = Contestant("Python, kept alive", worker(*kept, sys.executable, f"{folder}/kept.py"), 20_000)
                compare(queue, each, alive, 8, given.rounds)
            else:
                print("amqp-consume (Debian's amqp-tools) is not installed here: its comparison is left out")
        finally:
            queue.remove()


if __name__ == "__main__":
    main()
