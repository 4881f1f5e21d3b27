"""What the benchmarks stand on: a broker, a queue, commands that consume from it, and how they are compared."""

from __future__ import annotations

import os
import platform
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from cluster import engine  # noqa: E402
from cluster.apps.app import Image  # noqa: E402
from cluster.apps.component_apps import queue_app  # noqa: E402
from cluster.components import QUEUE  # noqa: E402
from cluster.image_ref import ImageRef  # noqa: E402
from cluster.images import base_image  # noqa: E402
from cluster.images import build as image_build  # noqa: E402
from cluster.schedulers import DeployOptions, Scheduler, selection  # noqa: E402
from cluster.schedulers.selection import Choice  # noqa: E402
from cluster.settings import Settings  # noqa: E402
from scripts.amqp.broker import open_blocking, url_of  # noqa: E402
from scripts.amqp.queues import failed_queue, queue_arguments  # noqa: E402
from scripts.errors import ServiceAway  # noqa: E402

DEADLINE_S = 300
# How often a queue is looked at: often enough for runs of seconds, too seldom to disturb them.
LOOK_S = 0.01


@contextmanager
def broker(url: str, management_port: int = 0) -> Iterator[str]:
    """The broker with this address; with none, one that is started for it on free ports and removed afterwards."""
    if url:
        yield url
        return
    settings = Settings.read(yaml.safe_load((ROOT / "invoke.yaml").read_text()))
    free = replace(settings.queue, port=0, management_port=management_port, prometheus_port=0)
    settings = replace(settings, project=f"benchmark-{secrets.token_hex(4)}", queue=free)
    where, image = _scheduler(settings)
    app = queue_app(settings, where, Image(image, "benchmark"))
    try:
        where.apply(where.plan(app), DeployOptions(timeout_s=120))
        address = where.address_of(app.id, "amqp")
        yield url_of(address.host, address.port)
    finally:
        where.stop(app.id, now=True)
        where.delete_data(app.id)


def _scheduler(settings: Settings) -> tuple[Scheduler, str]:
    """Where it runs, a container if there is an engine, and as which image."""
    try:
        client = engine.connect()
    except ServiceAway:
        return selection.connect(settings, Choice("process"), _progress), "none"
    with closing(client):
        base_image.ensure_base(client, _progress)
        image = ImageRef("cluster-benchmark-queue", "latest")
        image_build.build(client, QUEUE, image, _progress)
    return selection.local(settings, _progress), str(image)


def _progress(text: str) -> None:
    print(text, file=sys.stderr)


def machine(server: dict[str, str]) -> str:
    """What the absolute figures belong to; `server` are the broker's properties."""
    names = (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name"))
    cores = len(os.sched_getaffinity(0))
    return (
        f"{next(names, platform.machine())}, {cores} cores, Linux {platform.release()}, "
        f"Python {platform.python_version()}, RabbitMQ {server['version']}, load {os.getloadavg()[0]:.1f} at the start"
    )


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


class Queue:
    """A quorum queue that is emptied and filled for each measurement."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._connection = open_blocking(url)
        self.server = self._connection._impl.server_properties
        self._channel = self._connection.channel()
        self.name = f"benchmark-{secrets.token_hex(4)}"
        self._arguments = queue_arguments(self.name, self.server)[self.name]

    def renew(self) -> None:
        """Have it empty: a new queue each time, since what a consumer held comes back late."""
        self._channel.queue_delete(self.name)
        self._channel.queue_declare(self.name, durable=True, arguments=self._arguments)

    def fill(self, messages: int) -> None:
        """Add so many short messages."""
        for number in range(messages):
            self._channel.basic_publish("", self.name, b"message %d" % number)

    def wait(self, reached: Callable[[int, int], bool]) -> tuple[int, float]:
        """Look until the numbers of ready messages and of consumers are so; the former, and the time."""
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            method = self._channel.queue_declare(self.name, passive=True).method
            if reached(method.message_count, method.consumer_count):
                return method.message_count, time.monotonic()
            self._connection.sleep(LOOK_S)
        raise SystemExit(f"error: {method.message_count} messages are still in {self.name!r} after {DEADLINE_S} s")

    def remove(self) -> None:
        """Leave nothing in the broker."""
        self._channel.queue_delete(self.name)
        self._channel.queue_delete(failed_queue(self.name))
        self._connection.close()


@dataclass(frozen=True)
class Contestant:
    """Commands that consume side by side, and of how many messages the time is taken (a few seconds' worth)."""

    name: str
    commands: Sequence[Sequence[str]]
    messages: int
    prefetch: int


def worker(queue: Queue, *rest: str) -> list[str]:
    """cluster_worker on this queue."""
    return [sys.executable, "-I", str(ROOT / "scripts"), "cluster_worker", "-u", queue.url, "-q", queue.name, *rest]


@contextmanager
def running(commands: Sequence[Sequence[str]]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run these side by side, their output going nowhere, and stop them at the end.

    What a command has started gets no signal: an action that it ends is a failure, which comes back in the next round.
    """
    nothing = subprocess.DEVNULL
    processes = [
        subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)
        for command in commands
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def rate(queue: Queue, contestant: Contestant) -> float:
    """Messages a second that leave the queue, once all commands consume and the first messages are through."""
    warm = max(2, contestant.messages // 20)
    there = contestant.prefetch + warm + contestant.messages + warm
    queue.renew()
    queue.fill(there)
    queue.wait(lambda ready, _: ready == there)
    with running(contestant.commands):
        before, began = queue.wait(
            lambda ready, consumers: ready <= contestant.messages + warm and consumers == len(contestant.commands)
        )
        after, ended = queue.wait(lambda ready, _: ready <= warm)
    return (before - after) / (ended - began)


def compare(queue: Queue, base: Contestant, ours: Contestant, goal: float, rounds: int) -> None:
    """Both in turn, so that what else the machine does hits them alike; the median of the rounds' ratios counts."""
    pairs = [(rate(queue, base), rate(queue, ours)) for _ in range(rounds)]
    for name, found in zip((base.name, ours.name), zip(*pairs, strict=True), strict=True):
        print(f"{name:48} {statistics.median(found):10,.1f} messages/s   ({', '.join(f'{one:,.1f}' for one in found)})")
    ratios = [mine / theirs for theirs, mine in pairs]
    shown = ", ".join(f"{one:,.2f}" for one in ratios)
    print(f"{'':48} {statistics.median(ratios):10,.2f} x            to reach: {goal:g} x   ({shown})\n", flush=True)
