"""How much slower `inv --list` is than with an empty tasks.py, both measured in turn in one run.

Run: .venv/bin/python benchmarks/listing.py [rounds]. To reach: at most 1.3. Read the ratio, not the seconds.
"""

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def seconds(folder: Path) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "invoke", "--list"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with tempfile.TemporaryDirectory() as name:
        empty = Path(name)
        (empty / "tasks.py").write_text("from invoke import task\n\n\n@task\ndef nothing(c):\n    pass\n")
        pairs = [(seconds(ROOT), seconds(empty)) for _ in range(rounds)]
    ours, bare = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"inv --list {ours * 1000:.0f} ms, with an empty tasks.py {bare * 1000:.0f} ms: ratio {ours / bare:.2f}")


if __name__ == "__main__":
    main()
