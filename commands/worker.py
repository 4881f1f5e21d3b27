"""The worker component: build its image, run workers here or on a cluster, look at them, stop them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from commands import apps
from commands.output import say

if TYPE_CHECKING:
    from cluster.settings import Settings


def _run(settings: Settings, flags: Any) -> Iterable[str]:
    from cluster.apps.component_apps import Work
    from cluster.operations.deploy import deploy_workers

    work = Work.of(
        settings, queue=flags.queue, action=flags.action, url=flags.url, jobs=flags.jobs, timeout_s=flags.timeout,
        attempts=flags.attempts, keep_alive=flags.keep_alive, drain_s=flags.drain, rest=flags.options,
    )  # fmt: skip
    return deploy_workers(settings, apps.rollout(settings, flags), work, flags.tag, apps.overrides(flags))


def _scale(settings: Settings, flags: Any) -> None:
    from cluster.operations import operate
    from scripts.errors import ClusterError

    if not flags.instances:
        raise ClusterError("--instances is missing: say how many workers; worker.stop is for none")
    operate.scale(apps.target(settings, "worker", flags), flags.instances, say)


build = apps.build("worker", "Build the worker's image, with your actions in it, and push it to the private registry.")
run_local = apps.command(
    "run_local", "worker", "Run workers on this machine; returns when they take messages.",
    (*apps.WORK, *apps.RUN), _run,
)  # fmt: skip
deploy = apps.command(
    "deploy", "worker", "Run workers on a cluster, where they find the queue; returns when they take messages.",
    (*apps.WORK, *apps.DEPLOY), _run,
)  # fmt: skip
scale = apps.command(
    "scale", "worker", "Run so many workers of a queue.",
    (*apps.WHICH["worker"], "instances", *apps.WHERE, *apps.FOLLOWED), _scale,
)  # fmt: skip
restart = apps.restart("worker", "Stop and start the workers of a queue, after their running actions.")
rollback = apps.rollback("worker", "Run an earlier version of the workers of a queue, as many as run now.")
logs = apps.logs("worker", "Print what the workers of a queue printed.")
stop = apps.stop("worker", "Stop the workers of a queue, after their running actions.")
