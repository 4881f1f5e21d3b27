"""What a kept-alive action is worth: the same worker and broker, with and without; prints ratios and the machine.

    .venv/bin/python benchmarks/keep_alive.py [--url amqp://HOST:PORT] [--rounds 3]

Two comparisons:

- an R action that reads a line, kept alive, beside Rscript started for each message (to reach: 500 x)
- a Python action, kept alive, beside amqp-consume, which starts `cat` for each message (to reach: 8 x)

All hold 100 messages in advance. Without --url it starts a broker of its own. How to read it: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from ground import Contestant, Queue, broker, compare, machine, worker

PREFETCH = 100

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


def r_line(queue: Queue, folder: Path, rounds: int) -> None:
    rscript = shutil.which("Rscript")
    if not rscript:
        print("R is not here: its comparison is left out\n")
        return
    (folder / "each.r").write_text(R_EACH)
    (folder / "kept.r").write_text(R_KEPT)
    held = ("--prefetch", str(PREFETCH))
    each = worker(queue, *held, rscript, f"{folder}/each.r")
    kept = worker(queue, *held, "--keep-alive", rscript, f"{folder}/kept.r")
    base = Contestant("Rscript a message", [each], 20, PREFETCH)
    compare(queue, base, Contestant("R, kept alive", [kept], 20_000, PREFETCH), 500, rounds)


def python_line(queue: Queue, folder: Path, rounds: int) -> None:
    tool = shutil.which("amqp-consume")
    if not tool:
        print("amqp-consume is not here, and nothing to compare with: apt install amqp-tools\n")
        return
    (folder / "kept.py").write_text(PYTHON_KEPT)
    each = [tool, "-u", queue.url, "-q", queue.name, "-p", str(PREFETCH), "cat"]
    kept = worker(queue, "--prefetch", str(PREFETCH), "--keep-alive", sys.executable, f"{folder}/kept.py")
    base = Contestant("amqp-consume cat", [each], 2_000, PREFETCH)
    compare(queue, base, Contestant("Python, kept alive", [kept], 20_000, PREFETCH), 8, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="", help="a broker with nothing else to do (default: one is started)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each runs (default: %(default)s)")
    given = parser.parse_args()
    with broker(given.url) as url, tempfile.TemporaryDirectory() as folder:
        queue = Queue(url)
        print(f"{machine(queue.server)}\n", flush=True)
        try:
            r_line(queue, Path(folder), given.rounds)
            python_line(queue, Path(folder), given.rounds)
        finally:
            queue.remove()


if __name__ == "__main__":
    main()
