"""The worker component: build its image, run workers here, look at them, stop them."""

from __future__ import annotations

from typing import Any

from commands.output import result, say, settings_of
from commands.queue import HELP as COMMON
from commands.task import task

HELP = COMMON | {
    "tag": "image name and tag, such as worker:v1 (default: worker.tag in invoke.yaml)",
    "queue": "the queue to take messages from (default: queue.name in invoke.yaml)",
    "action": "what runs for a message: a file of components/worker/scripts/ or a command (default: worker.action)",
    "instances": "how many workers (default: worker.instances)",
    "jobs": "how many actions each worker runs at once; 0: one a core (default: worker.jobs)",
    "timeout": "time limit of one action in seconds (default: none)",
    "attempts": "how often a message is tried in all (default: 3)",
    "keep_alive": "start the action once and hand it message after message (docs/keep-alive.md)",
    "options": "further options of cluster_worker, in one string",
    "url": "the broker, amqp://[USER[:PASSWORD]@]HOST[:PORT] (default: the queue on this machine)",
    "drain": "how many seconds a stop waits for running actions (default: as long as they take)",
}
RUN_FLAGS = (
    "tag", "queue", "action", "instances", "jobs", "timeout", "attempts", "keep_alive", "options", "url", "drain",
    "dry_run",
)  # fmt: skip


@task(help={key: HELP[key] for key in ("tag", "registry", "no_push")})
def build(c: Any, tag: str = "", registry: str = "", no_push: bool = False) -> None:
    """Build the worker's image, with your actions in it, and push it to the private registry."""
    from cluster import building
    from cluster.components import WORKER

    settings = settings_of(c.config, registry)
    result(str(building.build_and_push(settings, WORKER, tag or settings.worker.tag, push=not no_push, say=say)))


@task(help={key: HELP[key] for key in RUN_FLAGS})
def run_local(
    c: Any, tag: str = "", queue: str = "", action: str = "", instances: int = 0, jobs: int = -1, timeout: float = 0.0,
    attempts: int = 0, keep_alive: bool = False, options: str = "", url: str = "", drain: int = -1,
    dry_run: bool = False,
) -> None:  # fmt: skip
    """Run workers on this machine; returns when they take messages."""
    from cluster import apps, running

    settings = settings_of(c.config)
    wish = apps.worker_wish(
        settings, queue=queue, action=action, url=url, instances=instances, jobs=jobs, timeout_s=timeout,
        attempts=attempts, keep_alive=keep_alive, drain_s=drain, rest=options,
    )  # fmt: skip
    for name in running.run_workers(settings, wish, tag or settings.worker.tag, dry_run=dry_run, say=say):
        result(name)


@task(help={key: HELP[key] for key in ("queue", "instances")})
def scale(c: Any, queue: str = "", instances: int = 0) -> None:
    """Run so many workers of a queue on this machine."""
    from cluster import running

    settings = settings_of(c.config)
    running.scale_workers(settings, queue or settings.queue.name, instances, say)


@task(help={key: HELP[key] for key in ("queue", "tail", "follow")})
def logs(c: Any, queue: str = "", tail: int = 100, follow: bool = False) -> None:
    """Print what the workers of a queue on this machine printed."""
    from cluster import definitions, running

    settings = settings_of(c.config)
    for line in running.logs(settings, definitions.worker_id(queue or settings.queue.name), tail, follow):
        result(line)


@task(help={key: HELP[key] for key in ("queue", "now")})
def stop(c: Any, queue: str = "", now: bool = False) -> None:
    """Stop the workers of a queue on this machine, after their running actions."""
    from cluster import definitions, running

    settings = settings_of(c.config)
    running.stop(settings, definitions.worker_id(queue or settings.queue.name), now, say)
