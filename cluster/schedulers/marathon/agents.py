"""The agents' Docker Engines, over SSH, for what Marathon cannot: the output of tasks, their drain and a quick end.

Marathon gives each container the label MESOS_TASK_ID (TaskBuilder.scala), by which it is found. Workers are asked to
finish what they run before Marathon ends them, which gives them little time.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal

import docker
from docker.errors import APIError
from docker.models.containers import Container

from cluster.apps.app import DRAIN
from cluster.engine import docker_errors
from cluster.hosts import ssh
from cluster.hosts.host import Host
from cluster.hosts.host import of_settings as agent_hosts
from cluster.interrupts import Interrupted
from cluster.schedulers import LongWait, Say, Wanted, every_line
from cluster.schedulers.docker import containers
from cluster.schedulers.docker.containers import CONFLICT, GONE
from cluster.schedulers.marathon.api import Api
from cluster.schedulers.marathon.definition import app_of
from cluster.settings import Settings
from scripts.errors import ClusterError
from scripts.marathon.answers import App, moment
from scripts.worker.alive import DRAINED, DRAINING, HOLD

# Opens the engines of the agents for as long as they are needed.
Engines = Callable[[], AbstractContextManager[Sequence[docker.DockerClient]]]

TASK = "MESOS_TASK_ID"

NO_HOSTS = f"agents.hosts of invoke.yaml names no hosts to reach over SSH, where containers have the label {TASK}"


class NoHosts(ClusterError):
    """The agents' engines are needed, and nobody says where they are."""


_LAST = 3
_AT_ONCE = 32

# In a container, whose only processes are the worker's and its actions'.
_HAS_NAME = "grep -qsx {} /proc/[0-9]*/comm"


@contextmanager
def opened(settings: Settings, say: Say) -> Iterator[Sequence[docker.DockerClient]]:
    """Open the engines of the hosts in invoke.yaml; a host that cannot be reached is said and hides no other."""
    hosts = agent_hosts(settings)
    if not hosts:
        raise NoHosts(NO_HOSTS)

    def open_one(host: Host) -> docker.DockerClient | ClusterError:
        try:
            return stack.enter_context(ssh.connected(settings, host)).engine()
        except ClusterError as error:
            return error

    with ExitStack() as stack:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = list(pool.map(open_one, hosts))
        errors = [str(one) for one in found if isinstance(one, ClusterError)]
        for error in errors:
            say(f"left out: {error}")
        if len(errors) == len(found):
            raise ClusterError(f"none of the agent hosts can be reached: {'; '.join(errors)}")
        yield [one for one in found if not isinstance(one, ClusterError)]


def containers_of(engines: Sequence[docker.DockerClient], task_ids: Collection[str]) -> dict[str, Container]:
    """Return the containers of these tasks, on whichever engine, by task."""
    found = {container.labels[TASK]: container for container in _tasks(engines)}
    return {task_id: found[task_id] for task_id in task_ids if task_id in found}


def _tasks(engines: Sequence[docker.DockerClient], **state: str) -> list[Container]:
    filters = {"label": TASK, **state}
    with docker_errors("look for the containers of the tasks"):
        found = [engine.containers.list(all=True, filters=filters, ignore_removed=True) for engine in engines]
    return [container for each in found for container in each]


def _last_ended(engines: Sequence[docker.DockerClient], app_id: str) -> dict[str, Container]:
    """Return the containers of the last tasks of an app that ended, by task; agents keep them for a while."""
    # As Marathon makes ids (PathId.scala, Instance.scala): group_app.instance-UUID._app.1, before 1.8 shorter.
    task = re.compile(re.escape(app_id.strip("/").replace("/", "_")) + r"\.[^.]+(\._app\.\d+)?")
    found = [one for one in _tasks(engines, status="exited") if task.fullmatch(one.labels[TASK])]
    found.sort(key=lambda container: str(container.attrs["State"]["FinishedAt"]))
    return {container.labels[TASK]: container for container in found[-_LAST:]}


def lines(
    engines: Sequence[docker.DockerClient], app_id: str, task_ids: Collection[str], tail: int, follow: bool,
    wanted: Wanted = every_line,
) -> Iterator[str]:  # fmt: skip
    """Yield the last `tail` of the `wanted` lines of each task as `task: line`, with `follow` those to come too.

    Where no task has a container, those of the last that ended are read.
    """
    found = containers_of(engines, task_ids) or _last_ended(engines, app_id)
    with docker_errors("read the logs of the tasks"):
        if follow:
            yield from containers.follow(found, tail, wanted)
        else:
            for task, one in found.items():
                yield from (f"{task}: {line}" for line in containers.last_lines(one, tail, wanted))


def ask_to_drain(container: Container) -> Literal["draining", "drained", "deaf", "gone"]:
    """Ask a worker to finish what it runs and to stay, and see by the name of its process how far it is."""
    with docker_errors(f"ask {container.name} to finish"):
        try:
            container.kill(signal=HOLD.name)
        except APIError as error:
            if error.status_code not in (GONE, CONFLICT):
                raise
            return "gone"
        for state in (DRAINED, DRAINING):
            if containers.succeeds_in(container, _HAS_NAME.format(state)):
                return state
        return "deaf"


def kill(engines: Sequence[docker.DockerClient], task_ids: Collection[str]) -> None:
    """End tasks at once: Marathon itself cannot shorten the time that a task was promised."""
    found = containers_of(engines, task_ids)
    with docker_errors("end the containers of the tasks"):
        for container in found.values():
            with containers.ignored(GONE, CONFLICT):
                container.kill()


POLL_S = 2.0
_FIRST_POLL_S = 0.2
_AWAY_S = 120.0  # so long Marathon or an agent may be away, as in an election or when it starts anew
_DEAF_S = 15.0  # a worker that shows nothing for so long does not know what it is asked for


@dataclass(frozen=True)
class Draining:
    """Lets tasks of an app finish what they run: all, or those that fewer instances leave no room for."""

    api: Api
    engines: Engines
    say: Say

    def let_finish(self, app: App, instances: int = 0) -> None:
        """Wait until the tasks beyond so many instances run no action; with 0 also those that come meanwhile."""
        spec, chosen = app_of(app), first_to_go(app, instances)

        def task_ids() -> set[str]:
            there = self.api.task_ids(spec.id)
            return there & chosen if instances else there

        if DRAIN not in spec.labels or not task_ids():
            return
        otherwise = f"Marathon gives what {spec.id} runs {spec.kill_grace_s} s, and longer actions return to the queue"
        try:
            with self.engines() as engines:
                one, wait = _Round(engines, self.say, otherwise), LongWait(self.say)
                while (left := self._left(one, task_ids)) and wait.passed_s < spec.stop_grace_s:
                    wait.tell(f"waiting for {', '.join(sorted(left))} to finish what they run")
                    time.sleep(POLL_S if wait.passed_s > POLL_S else _FIRST_POLL_S)
        except KeyboardInterrupt:
            raise Interrupted(
                f"interrupted: Marathon was told nothing; workers of {spec.id} that are done start anew in 5 minutes"
            ) from None
        except ClusterError as error:
            self.say(f"{error}: {otherwise}")

    def _left(self, one: _Round, task_ids: Callable[[], set[str]]) -> Sequence[str]:
        """Return the tasks that still run something; what is away for a moment must not cost hours of work."""
        deadline = time.monotonic() + _AWAY_S
        while True:
            try:
                return one.left(task_ids())
            except ClusterError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(POLL_S)


class _Round:
    """Asks the workers, again and again; says of each only once that it cannot be asked."""

    def __init__(self, engines: Sequence[docker.DockerClient], say: Say, otherwise: str) -> None:
        self._engines, self._say, self._otherwise = engines, say, otherwise
        self._deaf_since: dict[str, float] = {}  # infinity for those that have shown that they understand
        self._given_up: set[str] = set()

    def left(self, task_ids: Collection[str]) -> list[str]:
        """Ask those of these tasks that may still run something; return which they are."""
        asked = set(task_ids) - self._given_up
        found = containers_of(self._engines, asked)
        self._give_up(asked - found.keys(), "on no agent that was reached")
        states = {task_id: ask_to_drain(container) for task_id, container in found.items()}
        now = time.monotonic()
        for task_id, state in states.items():
            self._deaf_since[task_id] = self._deaf_since.get(task_id, now) if state == "deaf" else float("inf")
        deaf = {task_id for task_id in states if now - self._deaf_since[task_id] > _DEAF_S}
        self._give_up(deaf, "of an image that cannot be asked to finish")
        return [task_id for task_id in states if states[task_id] in ("deaf", "draining") and task_id not in deaf]

    def _give_up(self, task_ids: Collection[str], why: str) -> None:
        if task_ids:
            self._given_up.update(task_ids)
            self._say(f"{', '.join(sorted(task_ids))}: {why}: {self._otherwise}")


def first_to_go(app: App, instances: int) -> set[str]:
    """Return the tasks that Marathon ends first: the youngest, or the oldest if the app's killSelection says so."""
    tasks = [task for task in app.get("tasks") or [] if task.get("id")]
    tasks.sort(key=lambda task: moment(task.get("startedAt")) or float("inf"), reverse=True)
    if app.get("killSelection") == "OLDEST_FIRST":
        tasks.reverse()
    return {str(task["id"]) for task in tasks[: max(0, len(tasks) - instances)]}
