"""The worker component: build its image, run workers here or on a cluster, look at them, stop them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from commands import apps
from commands.output import result_bytes, say

if TYPE_CHECKING:
    from cluster.apps.component_apps import Work
    from cluster.settings import Settings


def _work(settings: Settings, flags: Any) -> Work:
    from cluster.apps.component_apps import Work

    return Work.of(
        settings, queue=flags.queue, action=flags.action, url=flags.url, jobs=flags.jobs, timeout_s=flags.timeout,
        attempts=flags.attempts, keep_alive=flags.keep_alive, drain_s=flags.drain, rest=flags.options,
    )  # fmt: skip


def _run(settings: Settings, flags: Any) -> Iterable[str]:
    from cluster.operations.deploy import deploy_workers

    return deploy_workers(
        settings, apps.rollout(settings, flags), _work(settings, flags), flags.tag, apps.overrides(flags)
    )


def _try(settings: Settings, flags: Any) -> None:
    from cluster.operations import trial

    flags.jobs, flags.drain = -1 if "-j" in flags.options else 1, -1
    which = trial.Flags(flags.body, flags.file, flags.line, flags.colsep, flags.tag, flags.at, flags.marathon)
    tried = trial.run(settings, which, _work(settings, flags), apps.overrides(flags), say)
    result_bytes(tried.result)
    say(tried.summary())
    tried.check()


def _scale(settings: Settings, flags: Any) -> None:
    from cluster.operations import operate
    from scripts.errors import ClusterError

    if flags.instances < 0 and not flags.max_instances:
        raise ClusterError("--instances is missing: say how many workers; worker.stop is for none")
    operate.scale(apps.target(settings, "worker", flags), flags.instances, say, flags.max_instances)


build = apps.build("worker", "Build the worker's image, with your actions in it, and push it to the private registry.")
run_local = apps.command(
    "run_local", "worker", "Run workers on this machine; returns when they take messages.",
    (*apps.WORK, *apps.RUN), _run,
)  # fmt: skip
deploy = apps.command(
    "deploy", "worker", "Run workers on a cluster, where they find the queue; returns when they take messages.",
    (*apps.WORK, "max_instances", *apps.DEPLOY), _run,
)  # fmt: skip
try_one = apps.command(
    "try", "worker", "Try an action on one message; it goes through workers as run-local would start them.",
    ("body", "file", "line", "colsep", *apps.TRIED, *apps.WHERE, "engine_option", "definition"), _try, ("body|file",),
)  # fmt: skip
scale = apps.command(
    "scale", "worker", "Run so many workers of a queue.",
    (*apps.WHICH["worker"], "instances", "max_instances", *apps.WHERE, *apps.FOLLOWED), _scale,
    ("instances|max_instances",),
)  # fmt: skip
restart = apps.restart("worker", "Stop and start the workers of a queue, after their running actions.")
rollback = apps.rollback("worker", "Run an earlier version of the workers of a queue, as many as run now.")
logs = apps.logs(
    "worker", "Print what the workers of a queue printed, of one message or of failures alone.", ("id", "errors")
)
stop = apps.stop("worker", "Stop the workers of a queue, after their running actions.")
