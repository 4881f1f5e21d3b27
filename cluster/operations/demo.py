"""The demo: everything on this machine, from nothing, on a year of temperatures."""

from __future__ import annotations

import errno
import json
import os
import shlex
import time
from collections import defaultdict
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import psutil

from cluster.apps.component_apps import Work
from cluster.apps.flags import AppOverrides
from cluster.components import QUEUE, WORKER
from cluster.files import locked
from cluster.operations import build as building
from cluster.operations.deploy import LOCAL_START_S, Rollout, deploy_queue, deploy_workers
from cluster.queue.publishing.items import Split
from cluster.queue.publishing.link import Target
from cluster.queue.publishing.publisher import publish
from cluster.queue.publishing.sources import text_file
from cluster.schedulers import DeployOptions, Say, Scheduler, selection
from cluster.settings import ROOT, Settings
from cluster.terminal import bar
from scripts.errors import ClusterError

INPUT = ROOT / "examples" / "temperatures.txt"
DEMO_QUEUE = "demo"
WORKERS = 2
# Two demos would delete and count each other's results.
_TAKEN = "another ./inv demo runs here: let it finish, or stop it, and run this again"
# One action takes well under a second; workers that bring nothing for so long are stuck.
STALLED_AFTER_S = 60
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def run(settings: Settings, *, process: bool, say: Say) -> str:
    """Build, start, publish, watch, and return the report for STDOUT.

    Raises:
        ClusterError: another demo of the project is under way; or whatever goes wrong.
    """
    with ExitStack() as stack:
        with suppress(OSError):  # where no lock can be had, without
            stack.enter_context(locked(ROOT / ".run" / f"demo-{settings.project}.lock", _TAKEN))
        return _run(settings, process, say)


def _run(settings: Settings, process: bool, say: Say) -> str:
    engine = selection.provide(settings, say, containers=not process)
    settings = replace(settings, scheduler=engine.name)
    if engine.has_images:
        for component, tag in ((QUEUE, settings.queue.tag), (WORKER, settings.worker.tag)):
            building.build_and_push(settings, component, tag, push=True, say=say)
    # A container's user is another one than this.
    mode = 0o1777 if engine.has_images else 0o755
    folder = results_folder(Path(settings.worker.tmp) / f"{settings.project}-demo", mode)
    _start(settings, engine, folder, say)
    ready = time.monotonic()
    count = _work_through(settings, folder, say)
    worked = time.monotonic()
    run_workers = "./inv worker.run-local"
    if not engine.has_images:
        run_workers = f"INVOKE_SCHEDULER={engine.name} {run_workers} --action wordcount.sh"
    lines = [
        f"{count} days became {count} files in {folder} in {worked - ready:.1f} s; summed up:",
        "",
        *report(folder),
        "",
        # ./inv becomes this process, so that what it did before, such as making .venv, counts.
        f"All of it took {time.time() - psutil.Process().create_time():.0f} s. Next:",
        "  ./inv status    shows what runs, and where the messages are",
        f"  {run_workers} && ./inv publish --body 'hello world'    and then ./inv worker.logs",
        "  ./inv down      stops all this",
    ]
    return "\n".join(lines)


def results_folder(usual: Path, mode: int) -> Path:
    """Make the folder of this run's results, without those of earlier runs; where the name is taken, another one.

    It lies where everybody may write, so only a real folder of this very user is taken for ours.

    Raises:
        ClusterError: both names are taken, or nothing can be made there.
    """
    own = usual.with_name(f"{usual.name}-{os.geteuid()}")
    for folder in (usual, own):
        try:
            with suppress(FileExistsError):
                folder.mkdir()
            if _clear(folder, mode):
                return folder
        except OSError as error:
            raise ClusterError(f"{folder}: {error.strerror}: worker.tmp of invoke.yaml names its folder") from error
    raise ClusterError(
        f"{usual} and {own} are not this user's folders: take one away, or set worker.tmp in invoke.yaml"
    )


def _clear(folder: Path, mode: int) -> bool:
    """Delete the results and set the mode; False when it is a link, no folder, or someone else's."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EACCES):
            return False
        raise
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            return False
        for entry in os.scandir(descriptor):
            if entry.name.endswith(".json") and not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.name, dir_fd=descriptor)
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)
    return True


def _results(folder: Path) -> list[Path]:
    """Return the files of the days; everybody may have put something else there."""
    return sorted(path for path in folder.glob("????-??-??.json") if path.is_file() and not path.is_symlink())


def report(folder: Path) -> list[str]:
    """Return a table of the days' results, summed up by month, in degrees Celsius."""
    days = defaultdict(list)
    for path in _results(folder):
        days[path.name[5:7]].append(json.loads(path.read_text(encoding="utf-8")))
    rows = [_row(MONTHS[int(number) - 1], found) for number, found in sorted(days.items())]
    return ["       low   mean   high  frost days", *rows]


def _row(month: str, days: list[dict[str, Any]]) -> str:
    low, high = min(day["low"] for day in days), max(day["high"] for day in days)
    frost_days = sum(day["frost_hours"] > 0 for day in days)
    degrees = f"{low:5.1f}  {mean(day['mean'] for day in days):5.1f}  {high:5.1f}"
    return f"{month}  {degrees}  {frost_days:3d} {'#' * frost_days}".rstrip()


def _start(settings: Settings, engine: Scheduler, folder: Path, say: Say) -> None:
    # A container sees the folder under /tmp, whatever it is called on this machine.
    target = Path("/tmp") / folder.name if engine.has_images else folder
    action = shlex.join(["temperatures.py", str(target)])
    work = Work.of(settings, queue=DEMO_QUEUE, action=action, jobs=1, timeout_s=60)
    rollout = Rollout(engine, say, DeployOptions(timeout_s=LOCAL_START_S), is_watched=True)
    deploy_queue(settings, rollout)
    deploy_workers(settings, rollout, work, overrides=AppOverrides(instances=WORKERS))


def _work_through(settings: Settings, folder: Path, say: Say) -> int:
    """Publish the year and wait until each day has its file; how many days."""
    say(f"publishing {INPUT.relative_to(ROOT)}, a message a line, to {DEMO_QUEUE!r}")
    total = publish(text_file(str(INPUT), Split()), Target(settings.queue.url, DEMO_QUEUE)).messages
    with bar("days worked on", total) as advance_to:
        done, since = 0, time.monotonic()
        while done < total:
            time.sleep(0.1)
            found = len(_results(folder))
            if found > done:
                done, since = found, time.monotonic()
                advance_to(done)
            elif time.monotonic() - since > STALLED_AFTER_S:
                raise ClusterError(
                    f"{done} of {total} days are done and no more came for {STALLED_AFTER_S} s: "
                    f"look at `./inv worker.logs -q {DEMO_QUEUE}`"
                )
    return total
