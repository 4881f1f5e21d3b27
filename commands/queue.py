"""The queue component: build its image, run it here or on a cluster, look at it, stop it."""

from __future__ import annotations

from typing import Any

from commands.output import result, results, say, settings_of
from commands.task import task

HELP = {
    "tag": "image name and tag, such as amqp:v1 (default: queue.tag in invoke.yaml)",
    "registry": "the registry's address, host:port (default: registry in invoke.yaml)",
    "no_push": "build only; do not push to the registry",
    "dry_run": "print what would be run or changed, change nothing",
    "marathon": "Marathon, HOST:PORT[,HOST:PORT] or a URL (default: marathon: in invoke.yaml where scheduler: says so)",
    "on": "the agent that keeps the queue's messages, as Marathon calls it (default: where they are, or the only one)",
    "move_without_data": "let the queue begin empty on another agent; its messages stay where they were",
    "guest": "open the queue to everyone who can reach it, without a password; for a network that you trust",
    "definition": "an app definition of your own in place of the component's",
    "no_wait": "return when Marathon has taken it on",
    "wait_timeout": "how many seconds Marathon is followed until all instances work",
    "force": "cancel the deployment that locks the app, and take over an app that is not this project's",
    "rollback_on_failure": "go back to what ran before when it does not come up",
    "to": "the version to go back to (default: the newest that differs); --dry-run lists them",
    "now": "do not wait, end it at once",
    "tail": "how many lines of each instance (default: 100)",
    "follow": "go on printing as lines come",
}


@task(help={key: HELP[key] for key in ("tag", "registry", "no_push")})
def build(c: Any, tag: str = "", registry: str = "", no_push: bool = False) -> None:
    """Build the queue's image and push it to the private registry."""
    from cluster.components import QUEUE
    from cluster.operations import build as building

    settings = settings_of(c.config, registry)
    result(str(building.build_and_push(settings, QUEUE, tag or settings.queue.tag, push=not no_push, say=say)))


@task(help={key: HELP[key] for key in ("tag", "dry_run")})
def run_local(c: Any, tag: str = "", dry_run: bool = False) -> None:
    """Run the queue on this machine, on 127.0.0.1:5672; returns when it answers."""
    from cluster.operations import run as running

    settings = settings_of(c.config)
    for name in running.run_queue(settings, tag or settings.queue.tag, dry_run=dry_run, say=say):
        result(name)


@task(
    help={
        key: HELP[key]
        for key in (
            "marathon", "tag", "on", "guest", "definition", "move_without_data", "dry_run", "no_wait", "wait_timeout",
            "force", "rollback_on_failure",
        )
    }
)  # fmt: skip
def deploy(
    c: Any, marathon: str = "", tag: str = "", on: str = "", guest: bool = False, definition: str = "",
    move_without_data: bool = False, dry_run: bool = False, no_wait: bool = False, wait_timeout: float = 600.0,
    force: bool = False, rollback_on_failure: bool = False,
) -> None:  # fmt: skip
    """Run the queue on a cluster, on one agent that keeps its messages; prints its HOST:PORT when it answers."""
    from cluster.apps.flags import Wish
    from cluster.operations import deploy as deploying

    settings = settings_of(c.config)
    order = deploying.Order.of(
        marathon, dry_run=dry_run, no_wait=no_wait, wait_timeout_s=wait_timeout, force=force, undo=rollback_on_failure
    )
    place = deploying.Place(on, move_without_data, guest)
    wish = Wish(definition=definition)
    address = deploying.deploy_queue(settings, order, tag or settings.queue.tag, place, wish, say)
    if address:
        result(str(address))


@task(help={"marathon": HELP["marathon"]})
def url(c: Any, marathon: str = "") -> None:
    """Print the queue's URL, with user and password, for amqp-publish and other standard tools."""
    from cluster.operations import publish

    result(publish.queue_url(settings_of(c.config), marathon))


@task(help={key: HELP[key] for key in ("marathon", "wait_timeout", "force")})
def restart(c: Any, marathon: str = "", wait_timeout: float = 600.0, force: bool = False) -> None:
    """Stop and start the queue; its messages stay."""
    from cluster.operations import operate

    settings = settings_of(c.config)
    operate.restart(settings, operate.target(settings, "/amqp", marathon, wait_timeout, force), say)


@task(help={key: HELP[key] for key in ("marathon", "to", "dry_run", "wait_timeout", "force")})
def rollback(
    c: Any, marathon: str = "", to: str = "", dry_run: bool = False, wait_timeout: float = 600.0, force: bool = False
) -> None:
    """Run an earlier version of the queue, where its messages are."""
    from cluster.operations import operate

    settings = settings_of(c.config)
    operate.rollback(
        settings, operate.target(settings, "/amqp", marathon, wait_timeout, force), to, dry_run, say
    )  # fmt: skip


@task(help={key: HELP[key] for key in ("marathon", "tail", "follow")})
def logs(c: Any, marathon: str = "", tail: int = 100, follow: bool = False) -> None:
    """Print what the queue printed."""
    from cluster.operations import operate

    settings = settings_of(c.config)
    results(operate.logs(settings, operate.target(settings, "/amqp", marathon), tail, follow, say))


@task(help={key: HELP[key] for key in ("marathon", "now")})
def stop(c: Any, marathon: str = "", now: bool = False) -> None:
    """Stop the queue; its messages stay where they are."""
    from cluster.operations import operate

    settings = settings_of(c.config)
    operate.stop(settings, operate.target(settings, "/amqp", marathon), now, say)
