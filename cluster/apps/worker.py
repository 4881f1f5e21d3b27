"""Workers as an app: the action, the queue and the options of cluster_worker."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from cluster.apps import definitions
from cluster.apps.app import DRAIN, AppSpec, Image
from cluster.apps.flags import AppOverrides
from cluster.apps.templates import EngineTraits, app_from, app_id_of
from cluster.components import WORKER
from cluster.settings import Settings
from scripts.amqp.broker import redacted
from scripts.amqp.queues import checked_name
from scripts.errors import ClusterError, WrongUsage
from scripts.worker import options as worker_options

# After --drain the worker ends its actions (TERM, KILL after 10 s) and hands their messages back (10 s at most).
_AFTER_DRAIN_S = 30


@dataclass(frozen=True)
class Work:
    """The work of an app: a queue, and the action and options with which workers take its messages.

    `url` is a broker that a person named (empty: the queue of the engine where they run); `drain_s` is how long a stop
    waits for running actions (None: as the definition says).
    """

    queue: str
    action: tuple[str, ...]
    url: str = field(default="", repr=False)
    options: tuple[str, ...] = ()
    drain_s: int | None = None

    @classmethod
    def of(
        cls, settings: Settings, *, queue: str = "", action: str = "", url: str = "", jobs: int = -1,
        timeout_s: float = 0, attempts: int = 0, keep_alive: bool = False, drain_s: int = -1, rest: str = "",
    ) -> Work:  # fmt: skip
        """Return what flags ask for, with the defaults of invoke.yaml where one is empty, 0 or -1."""
        words = split_command("--options", rest) if rest.strip() else []
        options = ["--tag"]
        if jobs >= 0 or not any(word.startswith("-j") for word in words):
            options += ["-j", str(jobs if jobs >= 0 else settings.worker.jobs)]
        options += ["--timeout", f"{timeout_s:.15g}"] if timeout_s else []
        options += ["--attempts", str(attempts)] if attempts else []
        options += ["--drain", str(drain_s)] if drain_s >= 0 else []
        options += ["--keep-alive"] if keep_alive else []
        options += words
        command = split_command("--action", action or settings.worker.action)
        _check_options(options, command)
        name = checked_name(queue or settings.queue.name)
        return cls(name, tuple(command), url, tuple(options), drain_s if drain_s >= 0 else None)


def worker_id(work: Work, overrides: AppOverrides) -> str:
    """Return the id of the app that does this work."""
    usual = "" if overrides.app_id or overrides.definition else definitions.worker_id(work.queue)
    return app_id_of(overrides, usual)


def worker_app(
    settings: Settings, engine: EngineTraits, image: Image, work: Work, broker: Sequence[str],
    overrides: AppOverrides = AppOverrides(),
) -> AppSpec:  # fmt: skip
    """Return workers for an engine.

    `broker` are the words of the worker's command line that say where its broker is.
    """
    if work.url and overrides.definition and "{{BROKER}}" not in json.dumps(definitions.load(overrides.source)):
        raise ClusterError(
            f"-u {redacted(work.url)}: {overrides.source} has no {{{{BROKER}}}} in it, which -u stands for"
        )
    values: Mapping[str, str | Sequence[str]] = {
        "BROKER": broker, "QUEUE": work.queue, "ACTION": work.action, "OPTIONS": work.options,
    }  # fmt: skip
    app = app_from(WORKER, worker_id(work, overrides), engine, image, overrides, values)
    if not overrides.definition:
        app = _as_in_settings(settings, engine, app)
    if work.drain_s is not None:
        grace_s = work.drain_s + _AFTER_DRAIN_S
        app = replace(app.with_labels({DRAIN: str(grace_s)}), kill_grace_s=grace_s)
    return overrides.applied_to(app)


def _as_in_settings(settings: Settings, engine: EngineTraits, app: AppSpec) -> AppSpec:
    """Return the workers of the component's own definition as invoke.yaml and the engine have them."""
    worker = settings.worker
    app = replace(app, instances=worker.instances, cpus=worker.cpus, mem_mib=worker.mem_mib)
    if engine.is_here:
        volumes = (replace(one, host_path=worker.tmp) if one.path == "/tmp" else one for one in app.volumes)
        app = replace(app, volumes=tuple(volumes))
    if engine.user:
        app = replace(app, container_options=(*app.container_options, ("user", engine.user)))
    return app


def split_command(flag: str, text: str) -> list[str]:
    """Return a command line as words, by the shell's quoting rules."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ClusterError(f"{flag} {text!r}: {error}") from error
    if not words:
        raise ClusterError(f"{flag} is empty: name a file of components/worker/scripts/ or a command")
    return words


def _check_options(options: Sequence[str], action: Sequence[str]) -> None:
    """Refuse options that cluster_worker would, before workers that run well are replaced by some that cannot start."""
    try:
        taken = worker_options.parse(["-u", "amqp://any", "-q", "any", *options, "--", *action])
    except WrongUsage as error:
        raise ClusterError(f"--options: {error}") from error
    if taken.command != tuple(action):
        raise ClusterError(f"--options: {taken.command[0]!r} is no option; see cluster_worker --help")
