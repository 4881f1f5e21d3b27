"""Workers as they are wanted, beside those that run: their action, their options, and which of them run nothing."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from cluster.apps.app import AppSpec, Instance
from cluster.apps.component_apps import Work, options_of, split_command
from cluster.components import QUEUE
from cluster.operations.brokers import queue_at
from cluster.queue import workers
from cluster.queue.runs.shell_words import in_one
from cluster.schedulers import Scheduler
from cluster.settings import ROOT, Settings
from scripts.errors import ClusterError
from scripts.worker.options import Options, parse

# So long workers that have nothing to do keep from others what they hold, and are there for what comes next.
_IDLE_S = "120"

# By so much of a file it is told whether it is a text.
_BEGINNING_BYTES = 1024

# Of an app's command line, and not of its work.
_NOT_ITS_WORK = {"tag", "management"}


@dataclass(frozen=True)
class Wanted:
    """The wishes of a person for workers; empty, 0 or -1 where there is none: then they are taken as they run."""

    queue: str = ""
    action: str = ""
    workers: int = 0
    jobs: int = -1
    timeout_s: float = 0
    attempts: int = 0
    keep_alive: bool = False
    options: str = ""

    def work(self, settings: Settings, action: str, jobs: int) -> Work:
        """Return the work of new workers."""
        return Work.of(
            settings, queue=self.queue, action=action, jobs=jobs, timeout_s=self.timeout_s, attempts=self.attempts,
            keep_alive=self.keep_alive, rest=self.options,
        )  # fmt: skip

    def flags(self) -> list[str]:
        """Return the same wishes as flags of worker.deploy; without how many workers."""
        found = ["-q", self.queue, "--action", in_one(split_command("--action", self.action))]
        found += ["--jobs", str(self.jobs)] if self.jobs >= 0 else []
        found += ["--timeout", f"{self.timeout_s:.15g}"] if self.timeout_s else []
        found += ["--attempts", str(self.attempts)] if self.attempts else []
        found += ["--keep-alive"] if self.keep_alive else []
        return found + (["--options", self.options] if self.options else [])

    @property
    def names_jobs(self) -> bool:
        """True where it is said how many actions a worker runs at once."""
        return self.jobs >= 0 or any(word.startswith("-j") for word in self.options.split())


def as_from_here(work: Work, engine: Scheduler) -> Work:
    """Return the work as plain processes are told; containers find their action in the image."""
    if engine.has_images:
        return work
    return replace(work, action=local_action(work.action, Path.cwd(), engine.place_of))


def ending_when_idle(work: Work) -> Work:
    """Return the work of workers that end when they have had nothing to do for a while, if it is not said how long."""
    if options_for(work).idle_s is not None:
        return work
    return replace(work, options=(*work.options, "--idle", _IDLE_S))


def local_action(action: Sequence[str], folder: Path, place_of: Callable[[Path], str] = str) -> tuple[str, ...]:
    """Return an action for plain processes, which run in another folder than this.

    Its program, or the script that this program is to run, may be a file here: it is named by its place there then. A
    path from the root is the same there, but for a script of this user, which may be edited while workers run it.
    """
    words = list(action)
    places = [ROOT / "components" / "worker" / "scripts"]
    is_known = any((place / words[0]).exists() for place in places) or shutil.which(words[0])
    for place in range(min(2, len(words))):
        if PurePath(words[place]).is_absolute():
            words[place] = place_of(Path(words[place])) if _is_own_script(Path(words[place])) else words[place]
            break
        if ("/" in words[place] or place or not is_known) and (folder / words[place]).is_file():
            words[place] = place_of((folder / words[place]).absolute())
            break
    return tuple(words)


def _is_own_script(path: Path) -> bool:
    """Return True for a text of this user that is in no folder of programs."""
    try:
        if path.parent.name == "bin" or not path.is_file() or path.stat().st_uid != os.getuid():
            return False
        with path.open("rb") as file:
            return b"\0" not in file.read(_BEGINNING_BYTES)
    except OSError:
        return False


def action_of(app: AppSpec) -> str:
    """Return the action that workers run, as a person writes it; of a definition without one its whole command."""
    found = options_of(app)
    return shlex.join(found.command) if found else app.command


def queue_of(app: AppSpec) -> str:
    """Return the queue whose messages an app takes; empty where it is none of workers."""
    found = options_of(app)
    return (found and found.queue) or app.env.get("QUEUE_NAME", "")


def idle_workers(settings: Settings, engine: Scheduler, app_id: str) -> frozenset[str]:
    """Return the names of an app's workers that run nothing now, as far as they say so."""
    app = engine.present(app_id)
    if not (app and (queue := queue_of(app))):
        return frozenset()
    try:
        url = broker_of(settings, engine, app)
        count = sum(one.state in ("running", "unhealthy") for one in _instances(engine, app_id))
        found = workers.ask(url, [queue], lambda answers: len(answers) >= count)
    except ClusterError:
        return frozenset()
    return frozenset(one.name for one in found if one.name and not one.running)


def broker_of(settings: Settings, engine: Scheduler, app: AppSpec) -> str:
    """Return the URL at which this machine finds the broker of workers."""
    options = options_of(app)
    if options is None or not options.url or finds_queue_of(engine, options):
        return queue_at(settings, engine).url
    return options.url


def finds_queue_of(engine: Scheduler, options: Options) -> bool:
    """Return True for workers that read in a file of the engine where its queue is."""
    return is_file(options.url) and ("-u", options.url) == engine.broker_for(QUEUE.app_id).words


def is_file(url: str | None) -> bool:
    """Return True where the `-u` of workers names a file that has the URL."""
    return bool(url) and str(url).startswith("@")


def _instances(engine: Scheduler, app_id: str) -> tuple[Instance, ...]:
    return next((app.instances for app in engine.status() if app.id == app_id), ())


def is_earlier(theirs: Sequence[str], wanted: Sequence[str]) -> bool:
    """Return True where an action is another one only by the places that an engine has given to files of one name."""
    pairs = [(PurePath(one), PurePath(other)) for one, other in zip(theirs, wanted, strict=False) if one != other]
    return len(theirs) == len(wanted) and all(
        one.is_absolute() and other.is_absolute() and one.name == other.name for one, other in pairs
    )


def runs_as_wanted(app: AppSpec, wanted: Wanted, work: Work) -> bool:
    """Return whether workers run this action, in the way that is asked for."""
    found = options_of(app)
    return found is not None and found.command == work.action and not differing(found, wanted, work)


def differing(found: Options, wanted: Wanted, work: Work) -> list[str]:
    """Return the options of workers that are not as is asked for, each as they have it: `with --attempts 3`."""
    usual, asked, has = map(_flat, (parse(["-q", work.queue, "--", *work.action]), options_for(work), found))
    names = [name for name in asked if asked[name] != usual[name] and name not in _NOT_ITS_WORK]
    names = [name for name in names if name != "jobs" and (name, asked[name]) != ("prefetch", asked["jobs"])]
    names += ["jobs"] if wanted.names_jobs else []
    return [_option(name, has[name]) for name in names if asked[name] != has[name]]


def _flat(options: Options) -> dict[str, Any]:
    """Return each option by its name; its action is none."""
    found: dict[str, Any] = {}
    for each in fields(options):
        value = getattr(options, each.name)
        found |= asdict(value) if is_dataclass(value) and not isinstance(value, type) else {each.name: value}
    del found["command"]
    return found


def _option(name: str, value: object) -> str:
    flag = f"--{name.removesuffix('_s').replace('_', '-')}"
    if value is None or isinstance(value, bool):
        return f"{'with' if value else 'without'} {flag}"
    return f"with {flag} {value:g}" if isinstance(value, float) else f"with {flag} {value}"


def options_for(work: Work) -> Options:
    """Return the options of workers that do this work."""
    return parse(["-q", work.queue, *work.options, "--", *work.action])
