"""Replacing workers: their action is tried before, and their first messages are watched for a while."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from pika.exceptions import ChannelClosedByBroker

from cluster.apps.app import AppSpec, Instance
from cluster.apps.component_apps import Work
from cluster.interrupts import Interrupted
from cluster.schedulers import ChangeFailed, Say, Scheduler
from scripts.action.command import CommandNotExecutable, CommandNotFound
from scripts.amqp.broker import broker_errors, open_blocking
from scripts.amqp.queues import side_queues
from scripts.errors import ClusterError
from scripts.worker.verdicts import Verdicts

WATCH_S = 15.0
_LOOK_EVERY_S = 0.5
_IDLE_S = 3.0  # as long as workers may need to take what waits
_LINES = 1000

# What fewer runs than these have failed says nothing of the program.
_LEAST_RUNS = 3
# So many messages of which none succeeded say enough, though more wait.
_ENOUGH = 10


def check_action(engine: Scheduler, app: AppSpec, work: Work, say: Say, replaces: bool = True) -> None:
    """See that the new workers can start their action, before those that run, if any, are ended for them.

    Any other end of the trial is no reason to refuse: an older image does not know --check.

    Raises:
        ClusterError: they cannot; those that run go on.
    """
    command = shlex.join(["exec", "cluster_worker", "--check", "-q", work.queue, "--", *work.action])
    try:
        code, printed = engine.run_once(replace(app, command=command, instances=1))
    except Interrupted:
        raise
    except ClusterError as error:
        say(f"whether the action can be started was not looked at: {error}")
        return
    if why := why_unstartable(engine, app, work, code, printed):
        raise ClusterError(f"{why}{'; the workers that run go on' if replaces else ''}")


def why_unstartable(engine: Scheduler, app: AppSpec, work: Work, code: int, printed: list[str]) -> str:
    """Say why a worker that ended with this exit code cannot start its action; empty where it could."""
    if code not in (CommandNotFound.exit_code, CommandNotExecutable.exit_code):
        return ""
    why = printed[-1].removeprefix("cluster_worker: error: ") if printed else f"exit code {code}"
    image = f" in {app.image}" if engine.has_images else ""
    build = "; ./inv worker.build puts the files of components/worker/scripts/ there" if image else ""
    return f"--action {shlex.join(work.action)!r}{image}: {why}{build}"


def messages_waiting(url: str, queue: str) -> int:
    """Return how many messages wait in the queues of a worker; those in hand are not counted."""
    with broker_errors(url), open_blocking(url) as connection:
        return sum(_ready(connection, name) for name in (queue, *side_queues(queue)))


def watch(engine: Scheduler, app_id: str, waiting: Callable[[], int], waited: int) -> None:
    """Return when a message of new workers has succeeded, when none is there, or after 15 s.

    Args:
        waiting: counts the messages that wait; while it cannot, some may.
        waited: how many waited before; with none there is nothing to be watched.

    Raises:
        ChangeFailed: nothing succeeds: a worker ends, or all that it took has failed.
        Interrupted: the workers go on.
    """
    began = time.monotonic()
    try:
        while waited and not _is_over(engine, app_id, waiting, waited, time.monotonic() - began):
            time.sleep(_LOOK_EVERY_S)
    except KeyboardInterrupt:
        raise Interrupted(
            f"interrupted: the new workers of {app_id} go on, and what ran before has ended; whether messages succeed "
            "was not seen: ./inv status shows it"
        ) from None


def _is_over(engine: Scheduler, app_id: str, waiting: Callable[[], int], waited: int, passed_s: float) -> bool:
    instances = next((app.instances for app in engine.status() if app.id == app_id), ())
    # Each line begins with the name of its instance.
    found = Verdicts.read(line.partition(": ")[2] for line in engine.logs(app_id, _LINES))
    if not found.succeeded and (why := trouble(instances, found, waited)):
        raise ChangeFailed(f"{app_id}: {why}; if the messages are at fault: ./inv worker.stop, then this again")
    if found.succeeded or passed_s > WATCH_S:
        return True
    if found.failed_runs or passed_s <= _IDLE_S:
        return False
    try:
        return not waiting()
    except ClusterError:
        return False


def trouble(instances: Iterable[Instance], found: Verdicts, waited: int) -> str:
    """Say what is wrong with workers none of whose messages has succeeded; empty where nothing can be told."""
    for instance in instances:
        if "ended with exit code" in instance.detail:
            return f"{instance.name} {instance.detail}" + (f", its last message: {found.last}" if found.last else "")
    if found.failed_runs >= _LEAST_RUNS and found.failed_messages >= min(waited, _ENOUGH):
        return f"all {found.failed_messages} messages that they took failed, the last: {found.last}"
    return ""


def consumers(connection: Any, queue: str) -> int:
    """Return how many consumers take messages of a queue; none where it is not there."""
    try:
        return int(connection.channel().queue_declare(queue, passive=True).method.consumer_count)
    except ChannelClosedByBroker:
        return 0


def _ready(connection: Any, queue: str) -> int:
    try:
        return int(connection.channel().queue_declare(queue, passive=True).method.message_count)
    except ChannelClosedByBroker:
        return 0
