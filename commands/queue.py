"""The queue component: build its image, run it here, look at it, stop it."""

from __future__ import annotations

from typing import Any

from commands.output import result, say, settings_of
from commands.task import task

HELP = {
    "tag": "image name and tag, such as amqp:v1 (default: queue.tag in invoke.yaml)",
    "registry": "the registry's address, host:port (default: registry in invoke.yaml)",
    "no_push": "build only; do not push to the registry",
    "dry_run": "print what would be run, run nothing",
    "now": "do not wait, end it at once",
    "tail": "how many lines of each instance (default: 100)",
    "follow": "go on printing as lines come",
}


@task(help={key: HELP[key] for key in ("tag", "registry", "no_push")})
def build(c: Any, tag: str = "", registry: str = "", no_push: bool = False) -> None:
    """Build the queue's image and push it to the private registry."""
    from cluster import building
    from cluster.components import QUEUE

    settings = settings_of(c.config, registry)
    result(str(building.build_and_push(settings, QUEUE, tag or settings.queue.tag, push=not no_push, say=say)))


@task(help={key: HELP[key] for key in ("tag", "dry_run")})
def run_local(c: Any, tag: str = "", dry_run: bool = False) -> None:
    """Run the queue on this machine, on 127.0.0.1:5672; returns when it answers."""
    from cluster import running

    settings = settings_of(c.config)
    for name in running.run_queue(settings, tag or settings.queue.tag, dry_run=dry_run, say=say):
        result(name)


@task(help={key: HELP[key] for key in ("tail", "follow")})
def logs(c: Any, tail: int = 100, follow: bool = False) -> None:
    """Print what the queue on this machine printed."""
    from cluster import running

    for line in running.logs(settings_of(c.config), "/amqp", tail, follow):
        result(line)


@task(help={"now": HELP["now"]})
def stop(c: Any, now: bool = False) -> None:
    """Stop the queue on this machine; its messages stay on its volume."""
    from cluster import running

    running.stop(settings_of(c.config), "/amqp", now, say)
