"""What publishing a file costs, beside the ways people have today; prints ratios and the machine.

    .venv/bin/python benchmarks/publish.py [--url amqp://HOST:PORT] [--rounds 3] [--no-memory]

200,000 short lines go to a quorum queue, `--rounds` times in turn, so that what else the machine does hits all alike;
the median counts:

- `inv publish --file`: persistent, mandatory, confirmed (the whole command, its start and first reading included)
- one confirm at a time: pika's BlockingChannel with confirms, on 3,000 messages (to reach: 12 x)
- `amqp-publish -l -p`: no confirms, what is lost is lost silently (to reach: 0.25 x)

Then, unless --no-memory: the peak memory of `inv publish` on 1 MB and on 1 GB (to reach: under 45 MB, and flat).
Without --url it starts a broker of its own. How to read it: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import re
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pika
from ground import ROOT, broker, machine

from scripts.amqp.broker import open_blocking, parameters
from scripts.amqp.queues import queue_arguments

LINES = 200_000
ONE_BY_ONE = 3_000
LINE_BYTES = 10_000


class Queue:
    """The queue of all contestants, new for each."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.name = f"benchmark-{secrets.token_hex(4)}"

    def renew(self) -> None:
        """Begin with an empty queue of that name."""
        self.remove()
        with open_blocking(self.url) as connection:
            arguments = queue_arguments(self.name, connection._impl.server_properties)[self.name]
            connection.channel().queue_declare(self.name, durable=True, arguments=arguments)

    def check(self, messages: int) -> None:
        """Fail unless so many messages are in it."""
        with open_blocking(self.url) as connection:
            found = connection.channel().queue_declare(self.name, passive=True).method.message_count
        if found != messages:
            raise SystemExit(f"error: {found} messages are in {self.name!r}, and {messages} were published")

    def remove(self) -> None:
        """Delete it."""
        with open_blocking(self.url) as connection:
            connection.channel().queue_delete(self.name)

    def flags(self) -> list[str]:
        """Its address, for `inv publish`."""
        return ["-u", self.url, "-q", self.name]


def inv_publish(queue: Queue, lines: Path) -> int:
    command = [sys.executable, "-m", "invoke", "publish", *queue.flags(), "--file", str(lines)]
    subprocess.run(command, cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
    return LINES


def one_by_one(queue: Queue, lines: Path) -> int:
    properties = pika.BasicProperties(delivery_mode=2)
    with open_blocking(queue.url) as connection, lines.open("rb") as file:
        channel = connection.channel()
        channel.confirm_delivery()
        for _ in range(ONE_BY_ONE):
            channel.basic_publish("", queue.name, file.readline().rstrip(b"\n"), properties, mandatory=True)
    return ONE_BY_ONE


def amqp_publish(queue: Queue, lines: Path) -> int:
    with lines.open("rb") as file:
        server = parameters(queue.url)
        command = ["amqp-publish", "-u", f"amqp://{server.host}:{server.port}", "-r", queue.name, "-l", "-p"]
        subprocess.run(command, check=True, stdin=file)
    return LINES


def rate(queue: Queue, way: Callable[[Queue, Path], int], lines: Path) -> float:
    """Messages a second."""
    queue.renew()
    began = time.monotonic()
    count = way(queue, lines)
    took_s = time.monotonic() - began
    queue.check(count)
    return count / took_s


def peak_mib(queue: Queue, folder: Path, size_mib: int) -> float:
    """The most memory that publishing a file of this size takes."""
    path = folder / f"{size_mib}-mib"
    line = b"x" * (LINE_BYTES - 1) + b"\n"
    with path.open("wb") as file:
        for _ in range(size_mib * 1024 * 1024 // LINE_BYTES):
            file.write(line)
    queue.renew()
    command = [sys.executable, "-m", "invoke", "publish", *queue.flags(), "--file", str(path)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    peak = 0.0
    while process.poll() is None:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
        peak = int(found[1]) / 1024 if found else peak
        time.sleep(0.02)
    path.unlink()
    return peak


def compare(queue: Queue, rounds: int, folder: Path) -> None:
    lines = folder / "lines"
    lines.write_bytes(b"".join(b"line %d of the file\n" % number for number in range(LINES)))
    ways = {"inv publish": inv_publish, "one confirm at a time": one_by_one}
    if shutil.which("amqp-publish"):
        ways["amqp-publish -l -p"] = amqp_publish
    else:
        print("amqp-publish is not here: apt install amqp-tools")
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            rates[name].append(rate(queue, way, lines))
    medians = {name: statistics.median(found) for name, found in rates.items()}
    for name, median in medians.items():
        ratio = "" if name == "inv publish" else f"  inv publish is {medians['inv publish'] / median:.2f} x that"
        print(f"{name:22}{median:10,.0f} messages/s{ratio}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="", help="a broker with nothing else to do (default: one is started)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each runs (default: %(default)s)")
    parser.add_argument("--no-memory", action="store_true", help="leave the 1 GB file out")
    options = parser.parse_args()
    with broker(options.url) as url, tempfile.TemporaryDirectory() as name:
        queue = Queue(url)
        with open_blocking(url) as connection:
            print(f"{machine(connection._impl.server_properties)}, pika {pika.__version__}\n", flush=True)
        try:
            compare(queue, options.rounds, Path(name))
            for size_mib in () if options.no_memory else (1, 1024):
                print(f"{f'memory on {size_mib} MiB':22}{peak_mib(queue, Path(name), size_mib):10.1f} MiB", flush=True)
        finally:
            queue.remove()


if __name__ == "__main__":
    main()
