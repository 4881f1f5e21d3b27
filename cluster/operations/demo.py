"""The demo: a year of temperatures, worked through on this machine from nothing, anew each time."""

from __future__ import annotations

import csv
import shlex
import sys
import time
from pathlib import Path

from cluster.components import WORKER
from cluster.interrupts import Interrupted
from cluster.operations import map as mapping
from cluster.operations.wanted_workers import Wanted
from cluster.schedulers import Say, selection
from cluster.settings import ROOT, Settings
from scripts.errors import MessagesFailed

INPUT = ROOT / "examples" / "temperatures.txt"
ACTION = WORKER.folder / "scripts" / "temperatures.py"
DEMO_QUEUE = "demo"


def run(settings: Settings, *, process: bool, say: Say) -> str:
    """Bring about what is missing, work through the year, and return the report for STDOUT.

    Raises:
        MessagesFailed: days failed.
        ClusterError: another demo of the project is under way; or whatever goes wrong.
    """
    began = time.monotonic()
    engine = selection.provide(settings, say, containers=not process)
    # The python3 of PATH may be a script of many that looks for the real one, at ten times the time of the action.
    action = ACTION.name if engine.has_images else shlex.join([sys.executable, str(ACTION)])
    output = ROOT / ".run" / f"demo-{settings.project}.csv"
    workers = Wanted(queue=DEMO_QUEUE, action=action)
    flags = mapping.Flags(file=str(INPUT), output=str(output), workers=workers, restart=True, at=engine.name)
    say(f"a year of temperatures: {INPUT.relative_to(ROOT)}, a day a line, each worked on by {ACTION.name}")
    try:
        summary = mapping.run(settings, flags, say)
    except Interrupted as error:
        raise type(error)("interrupted: the next ./inv demo begins anew") from error
    if summary.halted or summary.failed:
        raise MessagesFailed(f"{summary.failed:,} of {summary.total:,} days failed: {output} says why")
    at = "" if engine.has_images else f" --at {engine.name}"
    took_s = time.monotonic() - began
    lines = [
        report(output),
        f"That took {took_s:.1f} s. Next, a program and lines of your own, such as",
        f"  seq 1000 >numbers.txt && ./inv map{at} --file numbers.txt --action 'factor {{}}' --output factors.csv",
        "  ./inv status    shows what runs, and where the messages are",
        "  ./inv down      stops all this",
    ]
    return "\n".join(lines)


def report(output: Path) -> str:
    """Return a line on the year, from the results of its days: `DAY LOWEST MEAN HIGHEST HOURS-OF-FROST` each."""
    with output.open(newline="", encoding="utf-8") as file:
        days = [row["result"].split() for row in csv.DictReader(file)]
    coldest, warmest = min(days, key=lambda day: float(day[1])), max(days, key=lambda day: float(day[3]))
    return (
        f"{sum(day[4] != '0' for day in days)} of {len(days)} days had frost; the coldest was {coldest[0]} with "
        f"{coldest[1]} °C, the warmest {warmest[0]} with {warmest[3]} °C."
    )
