"""Workers as a run wants them, beside those that run: their action and their options."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from cluster.apps.app import AppSpec
from cluster.apps.component_apps import Work
from cluster.schedulers import Scheduler
from cluster.settings import ROOT, Settings
from scripts.errors import WrongUsage
from scripts.worker.options import Options, parse

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

    @property
    def names_jobs(self) -> bool:
        """True where it is said how many actions a worker runs at once."""
        return self.jobs >= 0 or any(word.startswith("-j") for word in self.options.split())


def as_from_here(work: Work, engine: Scheduler) -> Work:
    """Return the work as plain processes are told; containers find their action in the image."""
    return work if engine.has_images else replace(work, action=local_action(work.action, Path.cwd()))


def local_action(action: Sequence[str], folder: Path) -> tuple[str, ...]:
    """Return an action for plain processes, which run in another folder than this.

    Its program, or the script that this program is to run, may be a file here: it is named by its whole path then.
    """
    words = list(action)
    places = [ROOT / "components" / "worker" / "scripts"]
    is_known = any((place / words[0]).exists() for place in places) or shutil.which(words[0])
    for place in range(min(2, len(words))):
        if ("/" in words[place] or place or not is_known) and (folder / words[place]).is_file():
            words[place] = str((folder / words[place]).absolute())
            break
    return tuple(words)


def action_of(app: AppSpec) -> str:
    """Return the action that workers run, as a person writes it; of a definition without one its whole command."""
    found = options_of(app)
    return shlex.join(found.command) if found else app.command


def options_of(app: AppSpec) -> Options | None:
    """Return the command line of an app's cluster_worker; None where there is none that can be read."""
    try:
        words = shlex.split(app.command)
        return parse(words[words.index("cluster_worker") + 1 :])
    except (ValueError, WrongUsage):
        return None


def runs_as_wanted(app: AppSpec, wanted: Wanted, work: Work) -> bool:
    """Return whether workers run this action, in the way that is asked for."""
    found, asked = options_of(app), options_for(work)
    if found is None or found.command != asked.command:
        return False
    usual = parse(["-q", work.queue, "--", *work.action])
    unasked = _NOT_ITS_WORK | (set() if wanted.names_jobs else {"jobs", "prefetch"})
    names = [each.name for each in fields(Options) if each.name not in unasked]
    if wanted.names_jobs and asked.jobs != found.jobs:
        return False
    return all(getattr(asked, name) in (getattr(usual, name), getattr(found, name)) for name in names)


def options_for(work: Work) -> Options:
    """Return the options of workers that do this work."""
    return parse(["-q", work.queue, *work.options, "--", *work.action])
