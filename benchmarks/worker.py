"""What the worker itself costs, beside amqp-consume; prints ratios and the machine.

    .venv/bin/python benchmarks/worker.py [--url amqp://HOST:PORT] [--rounds 7] [--only drain,spread,memory]

- drain: a process (`cat`) a message, one at a time beside `amqp-consume -p 10`, and two at a time beside two of them
- spread: 64 messages of `sleep 1` over 4 workers with -j 4, beside the 4 s that they take at best
- memory: the worker's own, idle and after 100,000 messages

Without --url it starts a broker of its own. How to read it: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from ground import Contestant, Queue, broker, compare, machine, running, worker

PREFETCH = 10

SPREAD_MESSAGES, SPREAD_WORKERS, SPREAD_JOBS, SPREAD_S = 64, 4, 4, 1

MEMORY_MESSAGES = 100_000
KEPT_ALIVE = """\
import sys
with open(3, "w", buffering=1) as verdicts:
    verdicts.write("ready 1\\n")
    for line in sys.stdin:
        verdicts.write("ok\\n")
"""


def drain(queue: Queue, rounds: int) -> None:
    tool = shutil.which("amqp-consume")
    if not tool:
        print("amqp-consume is not here, and nothing to compare with: apt install amqp-tools\n")
        return
    theirs = [tool, "-u", queue.url, "-q", queue.name, "-p", str(PREFETCH), "cat"]
    for jobs, messages in ((1, 2000), (2, 3000)):
        held = PREFETCH * jobs
        ours = worker(queue, "-j", str(jobs), "--prefetch", str(held), "cat")
        base = Contestant(f"{jobs} x amqp-consume -p {PREFETCH} cat", [theirs] * jobs, messages, held)
        one = Contestant(f"cluster_worker -j {jobs} --prefetch {held} cat", [ours], messages, held)
        compare(queue, base, one, 1.0, rounds)


def spread(queue: Queue, rounds: int) -> None:
    best = SPREAD_MESSAGES * SPREAD_S / (SPREAD_WORKERS * SPREAD_JOBS)
    found = [_spread_once(queue) for _ in range(rounds)]
    took = statistics.median(found)
    shown = ", ".join(f"{one:.2f}" for one in found)
    name = f"{SPREAD_MESSAGES} x sleep {SPREAD_S}, {SPREAD_WORKERS} workers, -j {SPREAD_JOBS}"
    print(f"{name:48} {took:10.2f} s            ({shown}), at best {best:g} s")
    print(f"{'':48} {100 * best / took:10.1f} %            to reach: 95 %\n", flush=True)


def _spread_once(queue: Queue) -> float:
    """From the first start of an action to the last one's end, by the job log of workers that wait for work."""
    queue.renew()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        command = worker(queue, "-j", str(SPREAD_JOBS), "--joblog", str(log), "sleep", str(SPREAD_S))
        with running([command] * SPREAD_WORKERS):
            queue.wait(lambda _, consumers: consumers == SPREAD_WORKERS)
            queue.fill(SPREAD_MESSAGES)
            queue.wait(lambda _ready, _consumers: len(log.read_text().splitlines()) > SPREAD_MESSAGES)
        rows = [line.split("\t") for line in log.read_text().splitlines()[1:]]
    starts = [float(row[2]) for row in rows]
    ends = [float(row[2]) + float(row[3]) for row in rows]
    return max(ends) - min(starts)


def memory(queue: Queue, _rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        action = Path(folder, "action.py")
        action.write_text(KEPT_ALIVE)
        _memory_of(queue, "a process a message", worker(queue, "-j", "2", "--prefetch", "20", "true"))
        kept = worker(queue, "--prefetch", "100", "--keep-alive", sys.executable, str(action))
        _memory_of(queue, "kept alive", kept)
    print(f"{'':48} to reach: under 45 MB, and flat\n")


def _memory_of(queue: Queue, name: str, command: list[str]) -> None:
    queue.renew()
    with running([command]) as (process,):
        queue.wait(lambda _, consumers: consumers == 1)
        idle = _resident_mb(process)
        queue.fill(MEMORY_MESSAGES)
        queue.wait(lambda ready, _: ready == 0)
        print(f"{name:48} {idle:.1f} MB idle, {_resident_mb(process):.1f} MB after {MEMORY_MESSAGES:,} messages, "
              f"{_resident_mb(process, 'VmHWM'):.1f} MB at most", flush=True)  # fmt: skip


def _resident_mb(process: subprocess.Popen[bytes], field: str = "VmRSS") -> float:
    """A process's memory in megabytes (10^6 bytes)."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0]) * 1024 / 1e6


MEASURED: dict[str, Callable[[Queue, int], None]] = {"drain": drain, "spread": spread, "memory": memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="", help="a broker with nothing else to do (default: one is started)")
    parser.add_argument("--rounds", type=int, default=7, help="how often each runs (default: %(default)s)")
    parser.add_argument("--only", default=",".join(MEASURED), help="which (default: %(default)s)")
    given = parser.parse_args()
    with broker(given.url) as url:
        queue = Queue(url)
        print(f"{machine(queue.server)}\n", flush=True)
        try:
            for name in given.only.split(","):
                MEASURED[name](queue, given.rounds)
        finally:
            queue.remove()


if __name__ == "__main__":
    main()
