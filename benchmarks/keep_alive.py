"""What it is worth to keep an action alive; prints ratios and the machine.

    .venv/bin/python benchmarks/keep_alive.py [--url amqp://HOST:PORT] [--rounds 3] [--only r,python]

- r: an R action that reads a line, kept alive, beside Rscript started for each message
- python: a Python action, kept alive, beside amqp-consume, which starts `cat` for each message

All hold 100 messages in advance. Without --url it starts a broker of its own. How to read it: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from ground import Contestant, Queue, broker, compare, machine, worker

PREFETCH = 100
HOLD = ("--prefetch", str(PREFETCH))

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


def r(queue: Queue, folder: Path, rounds: int) -> None:
    rscript = shutil.which("Rscript")
    if not rscript:
        print("Rscript is not here, and nothing to compare with: apt install r-base-core\n")
        return
    each, kept = folder / "each.r", folder / "kept.r"
    each.write_text(R_EACH)
    kept.write_text(R_KEPT)
    base = Contestant("Rscript a message", [worker(queue, *HOLD, rscript, str(each))], 20, PREFETCH)
    command = worker(queue, *HOLD, "--keep-alive", rscript, str(kept))
    compare(queue, base, Contestant("R, kept alive", [command], 20_000, PREFETCH), 500, rounds)


def python(queue: Queue, folder: Path, rounds: int) -> None:
    tool = shutil.which("amqp-consume")
    if not tool:
        print("amqp-consume is not here, and nothing to compare with: apt install amqp-tools\n")
        return
    kept = folder / "kept.py"
    kept.write_text(PYTHON_KEPT)
    theirs = [tool, "-u", queue.url, "-q", queue.name, "-p", str(PREFETCH), "cat"]
    base = Contestant(f"amqp-consume -p {PREFETCH} cat", [theirs], 2_000, PREFETCH)
    command = worker(queue, *HOLD, "--keep-alive", sys.executable, str(kept))
    compare(queue, base, Contestant("Python, kept alive", [command], 20_000, PREFETCH), 8, rounds)


MEASURED: dict[str, Callable[[Queue, Path, int], None]] = {"r": r, "python": python}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="", help="a broker with nothing else to do (default: one is started)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each runs (default: %(default)s)")
    parser.add_argument("--only", default=",".join(MEASURED), help="which (default: %(default)s)")
    given = parser.parse_args()
    with broker(given.url) as url, tempfile.TemporaryDirectory() as folder:
        queue = Queue(url)
        print(f"{machine(queue.server)}\n", flush=True)
        try:
            for name in given.only.split(","):
                MEASURED[name](queue, Path(folder), given.rounds)
        finally:
            queue.remove()


if __name__ == "__main__":
    main()
