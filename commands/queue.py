"""The queue component: build its image, run it here or on a cluster, look at it, stop it; and the queues in it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from commands import apps
from commands.map import WHERE
from commands.output import confirm, result, say, settings_of
from commands.task import task

if TYPE_CHECKING:
    from cluster.operations.queues import Place
    from cluster.settings import Settings


def _run(settings: Settings, flags: Any) -> Iterable[str]:
    from cluster.operations.deploy import deploy_queue

    given = {"on": "", "move_without_data": False, "guest": False} | vars(flags)
    return deploy_queue(
        settings, apps.rollout(settings, flags), flags.tag, given["on"], may_leave_data=given["move_without_data"],
        is_open=given["guest"], overrides=apps.overrides(flags),
    )  # fmt: skip


def _url(settings: Settings, flags: Any) -> Iterable[str]:
    from cluster.operations.brokers import queue_url

    return [queue_url(settings, flags.at, flags.marathon, say)]


@task(help={"queue": "the queue (default: queue.name in invoke.yaml)"} | WHERE)
def pause(c: Any, queue: str = "", at: str = "", marathon: str = "", url: str = "") -> None:
    """Let the workers of a queue take nothing new, those that start later as well; what they run may finish."""
    from cluster.operations import pausing

    pausing.pause(settings_of(c.config), queue, at=at, marathon=marathon, url=url, say=say)


@task(help={"queue": "the queue (default: queue.name in invoke.yaml)"} | WHERE)
def resume(c: Any, queue: str = "", at: str = "", marathon: str = "", url: str = "") -> None:
    """Let the workers of a paused queue take messages again."""
    from cluster.operations import pausing

    pausing.resume(settings_of(c.config), queue, at=at, marathon=marathon, url=url, say=say)


build = apps.build("queue", "Build the queue's image and push it to the private registry.")
run_local = apps.command(
    "run_local", "queue", "Run the queue on this machine, on 127.0.0.1:5672; returns when it answers.",
    ("tag", *apps.RUN), _run,
)  # fmt: skip
deploy = apps.command(
    "deploy", "queue",
    "Run the queue on a cluster, on one host that keeps its messages; prints its HOST:PORT when it answers.",
    ("tag", "on", "here", "rabbitmq", "guest", "move_without_data", *apps.DEPLOY), _run,
)  # fmt: skip
url = apps.command(
    "url", "queue", "Print the queue's URL, with user and password, for amqp-publish and other standard tools.",
    apps.WHERE, _url,
)  # fmt: skip
restart = apps.restart("queue", "Stop and start the queue; its messages stay.")
rollback = apps.rollback("queue", "Run an earlier version of the queue, where its messages are.")
logs = apps.logs("queue", "Print what the queue printed.")
stop = apps.stop("queue", "Stop the queue; its messages stay where they are.")

DELETING = {
    "queue": "the queue's name, as queue.list shows it",
    "yes": "do not ask before",
    "dry_run": "say how many messages would be deleted, delete none",
} | WHERE


@task(
    name="list",
    help={"all": "a row for each queue, also for those that belong to another", "json": "print JSON"} | WHERE,
)
def list_queues(
    c: Any,
    all: bool = False,  # noqa: A002
    json: bool = False,
    at: str = "",
    marathon: str = "",
    url: str = "",
) -> None:
    """Show the queues by name, and how many messages are in each."""
    from cluster.operations import queues

    result(queues.listed(_place(c, at, marathon, url), each=all, as_json=json))


@task(help=DELETING, needs=("queue",))
def purge(
    c: Any, queue: str = "", yes: bool = False, dry_run: bool = False, at: str = "", marathon: str = "", url: str = ""
) -> None:
    """Delete the messages that wait in a queue of this name; failed ones, and those in work, stay."""
    from cluster.operations import queues

    ask = None if yes else partial(confirm, yes=False)
    queues.purge(_place(c, at, marathon, url), queue, dry_run=dry_run, ask=ask)


@task(help=DELETING, needs=("queue",))
def delete(
    c: Any, queue: str = "", yes: bool = False, dry_run: bool = False, at: str = "", marathon: str = "", url: str = ""
) -> None:
    """Delete a queue of this name with all its messages; it has no workers then."""
    from cluster.operations import queues

    ask = None if yes else partial(confirm, yes=False)
    queues.delete(_place(c, at, marathon, url), queue, dry_run=dry_run, ask=ask)


def _place(c: Any, at: str, marathon: str, url: str) -> Place:
    from cluster.operations.queues import Place

    return Place(settings_of(c.config), say, at, marathon, url)
