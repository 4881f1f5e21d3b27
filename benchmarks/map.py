"""What `inv map` costs from its start to its end, beside GNU parallel; prints ratios and the machine.

    .venv/bin/python benchmarks/map.py [--url amqp://127.0.0.1:PORT] [--rounds 3] [--only process,spread,memory]

- process: 2,000 and 10,000 items, a process (`cat`) for each, two at a time, and 10,000 and 100,000 with an action that
  is kept alive, beside `parallel -j2` on 2,000 lines
- spread: 64 items of `sleep 1` over 4 workers with -j 4, beside the 4 s that they take at best
- memory: that of `inv map` at its most, on --items lines of 100 bytes with results of 100 bytes; none may be lost

Without --url it starts a broker of its own. How to read it: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import shlex
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from ground import ROOT, Queue, broker, machine

JOBS = 2
FEW, MANY = 2_000, 10_000
# So many items take an action that is kept alive some seconds.
MANY_KEPT = 100_000
KEPT_ALIVE = """\
import sys
results = sys.stdout.buffer
with open(3, "w", buffering=1) as verdicts:
    verdicts.write("ready 1\\n")
    for line in sys.stdin.buffer:
        results.write(line)
        results.flush()
        verdicts.write(f"ok {len(line)}\\n")
"""

SPREAD_ITEMS, SPREAD_WORKERS, SPREAD_JOBS, SPREAD_S = 64, 4, 4, 1

LINE_BYTES = 100


class Inv:
    """`./inv` with a broker, as plain processes, and as a project of its own."""

    def __init__(self, url: str, management_port: int, folder: Path) -> None:
        self.folder = folder
        queue = {"PORT": urlsplit(url).port or 5672, "MANAGEMENT_PORT": management_port}
        ours = {f"INVOKE_QUEUE_{name}": str(value) for name, value in queue.items()}
        self.environment = os.environ | ours | {
            "INVOKE_PROJECT": f"benchmark-{secrets.token_hex(4)}", "INVOKE_SCHEDULER": "process",
        }  # fmt: skip

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Begin a command."""
        silent = subprocess.DEVNULL
        return subprocess.Popen(
            [ROOT / "inv", *words], env=self.environment, stdin=silent, stdout=silent, stderr=silent
        )

    def run(self, *words: str) -> float:
        """Run a command to its end, and return the seconds that this took."""
        began = time.monotonic()
        if self.start(*words).wait():
            raise SystemExit(f"error: ./inv {shlex.join(words)} failed")
        return time.monotonic() - began

    @contextmanager
    def workers(self, instances: int, jobs: int, *options: str) -> Iterator[list[str]]:
        """Have workers wait at a queue; yields the flags by which `map` finds them."""
        flags = ["-q", f"benchmark-{secrets.token_hex(4)}", "--jobs", str(jobs), *options]
        self.run("worker.run-local", "--instances", str(instances), *flags)
        try:
            yield flags
        finally:
            self.run("down")

    def map(self, lines: Path, *flags: str) -> float:
        """Map lines to an output that is new, check it, and return the seconds that this took."""
        output = self.folder / "output.jsonl"
        took_s = self.run("map", "--file", str(lines), "--output", str(output), *flags)
        check(lines, output)
        return took_s


def check(lines: Path, output: Path) -> None:
    """Fail unless each line is its own result, once; remove the output."""
    missing = set(range(1, 1 + lines.read_bytes().count(b"\n")))
    with output.open("rb") as file:
        for raw in file:
            record = json.loads(raw)
            missing.remove(record["item"])
            if record["exit"] != 0 or record["result"].rstrip("\n") not in (record["input"], ""):
                raise SystemExit(f"error: the result of item {record['item']} is wrong: {raw!r}")
    if missing:
        raise SystemExit(f"error: {len(missing)} items have no result")
    output.unlink()
    output.with_name(f"{output.name}.run").unlink()


def lines_of(folder: Path, count: int, size: int = 0) -> Path:
    """Write a file of so many lines, of at least so many bytes with their ends."""
    path = folder / f"{count}-lines"
    with path.open("wb") as file:
        file.writelines((b"item number %d" % number).ljust(size - 1) + b"\n" for number in range(count))
    return path


def parallel(lines: Path) -> float:
    """Run `parallel` on the lines, each of which `cat` gets on STDIN; return the seconds that this took."""
    command = ["parallel", "--will-cite", f"-j{JOBS}", "echo {} | cat"]
    began = time.monotonic()
    with lines.open("rb") as file:
        subprocess.run(command, check=True, stdin=file, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def process(inv: Inv, given: argparse.Namespace) -> None:
    if not shutil.which("parallel"):
        print("parallel is not here, and nothing to compare with: apt install parallel\n")
        return
    few, many, most = (lines_of(inv.folder, count) for count in (FEW, MANY, MANY_KEPT))
    kept_alive = inv.folder / "kept.py"
    kept_alive.write_text(KEPT_ALIVE)
    rates: dict[str, list[float]] = {}
    goals = {f"inv map, {FEW:,} items, cat": 3, f"inv map, {MANY:,} items, cat": 4,
             f"inv map, {MANY:,} items, kept alive": 15, f"inv map, {MANY_KEPT:,} items, kept alive": 30}  # fmt: skip
    theirs = f"parallel -j{JOBS} 'echo {{}} | cat', {FEW:,} items"
    each = inv.workers(1, JOBS, "--action", "cat")
    kept = inv.workers(1, JOBS, "--keep-alive", "--action", shlex.join([sys.executable, str(kept_alive)]))
    with each as to_cat, kept as to_kept:
        ways: dict[str, Callable[[], float]] = dict(zip((theirs, *goals), (
            lambda: FEW / parallel(few),
            lambda: FEW / inv.map(few, *to_cat),
            lambda: MANY / inv.map(many, *to_cat),
            lambda: MANY / inv.map(many, *to_kept),
            lambda: MANY_KEPT / inv.map(most, *to_kept),
        ), strict=True))  # fmt: skip
        for _ in range(given.rounds):
            for name, way in ways.items():
                rates.setdefault(name, []).append(way())
    for name, found in rates.items():
        print(f"{name:48} {statistics.median(found):10,.1f} items/s   ({', '.join(f'{one:,.1f}' for one in found)})")
        if name in goals:
            ratios = [mine / base for mine, base in zip(found, rates[theirs], strict=True)]
            shown = ", ".join(f"{one:,.2f}" for one in ratios)
            print(f"{'':48} {statistics.median(ratios):10,.2f} x            to reach: {goals[name]} x   ({shown})")
    print(flush=True)


def spread(inv: Inv, given: argparse.Namespace) -> None:
    best = SPREAD_ITEMS * SPREAD_S / (SPREAD_WORKERS * SPREAD_JOBS)
    lines = lines_of(inv.folder, SPREAD_ITEMS)
    with inv.workers(SPREAD_WORKERS, SPREAD_JOBS, "--action", f"sleep {SPREAD_S}") as flags:
        output = ("--output", str(inv.folder / "none.jsonl"))
        starts = [inv.run("map", "--file", str(lines), *output, *flags, "--dry-run") for _ in range(given.rounds)]
        found = [inv.map(lines, *flags) for _ in range(given.rounds)]
    start, took = statistics.median(starts), statistics.median(found)
    shown = ", ".join(f"{one:.2f}" for one in found)
    name = f"{SPREAD_ITEMS} x sleep {SPREAD_S}, {SPREAD_WORKERS} workers, -j {SPREAD_JOBS}"
    print(f"{name:48} {took:10.2f} s            ({shown}), at best {best:g} s and the start of inv, {start:.2f} s")
    print(f"{'':48} {100 * (took / (best + start) - 1):10.1f} % over       to reach: 5 %\n", flush=True)


def memory(inv: Inv, given: argparse.Namespace) -> None:
    kept_alive = inv.folder / "kept.py"
    kept_alive.write_text(KEPT_ALIVE)
    action = shlex.join([sys.executable, str(kept_alive)])
    with inv.workers(1, JOBS, "--keep-alive", "--action", action) as flags:
        for count in (1_000, given.items):
            lines = lines_of(inv.folder, count, LINE_BYTES)
            output = inv.folder / "output.jsonl"
            began = time.monotonic()
            peak = _peak_mb(inv.start("map", "--file", str(lines), "--output", str(output), *flags))
            took_s = time.monotonic() - began
            check(lines, output)
            name = f"{count:,} items of {LINE_BYTES} bytes"
            print(f"{name:48} {peak:10.1f} MB at most   ({took_s:.1f} s, {count / took_s:,.0f} items/s)", flush=True)
    print(f"{'':48} to reach: under 80 MB, and flat\n", flush=True)


def _peak_mb(process: subprocess.Popen[bytes]) -> float:
    """Follow a process to its end, and return the most memory that it had."""
    peak = 0.0
    while process.poll() is None:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
        peak = int(found[1]) * 1024 / 1e6 if found else peak
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit("error: ./inv map failed")
    return peak


MEASURED: dict[str, Callable[[Inv, argparse.Namespace], None]] = {
    "process": process, "spread": spread, "memory": memory,
}  # fmt: skip


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="", help="a broker of this machine with nothing else to do")
    parser.add_argument("--rounds", type=int, default=3, help="how often each runs (default: %(default)s)")
    parser.add_argument("--only", default=",".join(MEASURED), help="which (default: %(default)s)")
    parser.add_argument("--items", type=int, default=1_000_000, help="how many for the memory (default: %(default)s)")
    given = parser.parse_args()
    management_port = free_port()
    with broker(given.url, management_port) as url, tempfile.TemporaryDirectory() as folder:
        queue = Queue(url)
        print(f"{machine(queue.server)}\n", flush=True)
        queue.remove()
        inv = Inv(url, management_port, Path(folder))
        for name in given.only.split(","):
            MEASURED[name](inv, given)


if __name__ == "__main__":
    main()
