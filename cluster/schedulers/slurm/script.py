"""The batch script of an app: the options of its jobs, the variables of its instances, and the body, `job.sh`."""

from __future__ import annotations

import hashlib
import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster import schedulers
from cluster.apps.app import AppSpec
from scripts.errors import ClusterError

_BODY = Path(__file__).with_name("job.sh")

# Options of sbatch that --engine-option gives on as they are.
PASSED_ON = (
    "partition", "account", "qos", "constraint", "reservation", "gres", "exclude", "nodelist", "licenses", "nice",
)  # fmt: skip
OPTIONS = (*PASSED_ON, "setup", "rabbitmq", "here")

_NICE = 100  # with the usual weights of Slurm's priorities it orders the jobs of one person, and little more

# The notice before the time limit: as long as an action may take, else so long. Slurm looks each half minute, and gives
# it at the last look before.
_NOTICE_S = 180
_LEAST_NOTICE_S = 10
_EARLY_S = 30
_AFTER_ACTION_S = 60  # for what the action leaves to be done, and for Slurm's coarse clock


@dataclass(frozen=True)
class Place:
    """The folders of an app on the cluster: of all it keeps, of its code, its logs; and the name of its jobs."""

    project: str
    slug: str
    folder: str
    code: str
    logs: str

    @property
    def job_name(self) -> str:
        """The name of the app's jobs, in `squeue`."""
        return f"{self.project}/{self.slug}"

    @property
    def mark(self) -> str:
        """The beginning of their comment, by which those of another folder with the same project are told."""
        return mark_of(self.folder.rpartition("/apps/")[0])


def mark_of(folder: str) -> str:
    """Return the mark of all jobs that belong to a folder of a project."""
    return f"in={hashlib.sha256(folder.encode()).hexdigest()[:8]};"


def slug_of(app_id: str) -> str:
    """Return the name of an app's folder: `group-amqp` for /group/amqp."""
    return app_id.removeprefix("/").replace("/", "-")


def options(app: AppSpec, place: Place, version: int, notice_s: float, is_worker: bool = False) -> list[str]:
    """Return the options of sbatch for one instance; workers let what they depend on begin before them."""
    given = dict(app.engine_options)
    found = [
        f"--job-name={place.job_name}", f"--comment={place.mark}app={app.id};version={version}",
        f"--output={place.logs}/%A_%a.log", "--open-mode=append", "--requeue", "--ntasks=1", *resources(app),
        f"--signal=B:USR1@{notice_s:.0f}",
    ]  # fmt: skip
    found += [f"--time={time_text(app.time_limit_s)}"] if app.time_limit_s else []
    found += [f"--nice={_NICE}"] if is_worker and "nice" not in given else []
    return found + passed_on(given)


def resources(app: AppSpec) -> list[str]:
    """Return the options of sbatch and srun for the processors and the memory of an instance."""
    return [f"--cpus-per-task={max(1, math.ceil(app.cpus))}", f"--mem={app.mem_mib:.0f}M"]


def passed_on(given: Mapping[str, str]) -> list[str]:
    """Return what a person has given for sbatch and srun."""
    for name, value in given.items():
        if not value or "\n" in value:
            raise ClusterError(f"--engine-option {name}={value!r}: a value of one line is needed")
    return [f"--{name}={given[name]}" for name in PASSED_ON if name in given]


def notice_s(app: AppSpec, action_s: float | None) -> float:
    """Return how long before the time limit workers take nothing new; `action_s` is the limit of one action."""
    if action_s:
        return action_s + _AFTER_ACTION_S
    # Of a short job the greater part is for work.
    most = (app.time_limit_s - _EARLY_S) / 2
    return min(_NOTICE_S, max(_LEAST_NOTICE_S, most)) if app.time_limit_s else _NOTICE_S


def least_time_s(action_s: float) -> float:
    """Return the shortest time limit of workers whose actions may take so long: before the notice they take some."""
    return action_s + 2 * _AFTER_ACTION_S


def time_text(seconds: float) -> str:
    """Return a time limit as Slurm writes it, `D-HH:MM:SS`."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days}-{hours:02}:{minutes:02}:{rest:02}"


def head(
    app: AppSpec, place: Place, version: int, env: Mapping[str, str], *, command: str, comes_again: str,
    is_worker: bool, notice: float, is_trial: bool = False,
) -> str:  # fmt: skip
    """Return the batch script of an app, without its body, which is the same for all.

    Args:
        env: what instances find in their environment besides what the job itself gives them.
        command: what runs, for the shell.
        comes_again: for the shell as well; another job takes the place of this at its time limit, unless that ends
            with 1.
        is_worker: it is told to end by SIGINT, as SIGTERM means an end by Slurm to it.
        notice: how many seconds before its time limit a job is told.
        is_trial: the command runs once, and nothing is noted of it.
    """
    lines = ["#!/bin/bash"]
    lines += [f"#SBATCH {_for_sbatch(option)}" for option in options(app, place, version, notice, is_worker)]
    exports = [f"export {name}={shlex.quote(value)}" for name, value in sorted(env.items())]
    lines += ["app_environment() {", *(exports or [":"]), "}"]
    health = app.health
    variables = {
        "project": place.project, "slug": place.slug, "app_id": app.id, "folder": place.folder,
        "code_folder": place.code, "command": command, "setup": dict(app.engine_options).get("setup", ""),
        "stop_signal": "INT" if is_worker else "TERM", "comes_again": comes_again,
        "check": health.command if health else "", "check_timeout_s": f"{health.timeout_s if health else 1:g}",
        "check_interval_s": f"{health.interval_s if health else 1:g}",
        "check_failures": str(health.failures if health else 1), "settled_s": f"{schedulers.SETTLED_S:g}",
        "is_trial": "yes" if is_trial else "",
    }  # fmt: skip
    lines += [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
    return "\n".join(lines) + "\n"


def body() -> str:
    """Return the rest of each batch script."""
    return _BODY.read_text()


def _for_sbatch(option: str) -> str:
    """Quote an option for a line of #SBATCH, where sbatch knows double quotes and backslashes."""
    if not any(letter in option for letter in " \t\"'\\;#$"):
        return option
    escaped = option.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
