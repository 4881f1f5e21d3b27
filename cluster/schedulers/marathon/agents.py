"""The agents' Docker Engines, over SSH, for what Marathon cannot: the output of tasks, their drain and a quick end.

Marathon gives each container the label MESOS_TASK_ID (TaskBuilder.scala), by which it is found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Literal

import docker
from docker.errors import APIError
from docker.models.containers import Container

from cluster.engine import docker_errors
from cluster.hosts import ssh
from cluster.hosts.host import Host
from cluster.hosts.host import of_settings as agent_hosts
from cluster.schedulers import Say
from cluster.schedulers.docker import containers
from cluster.schedulers.docker import logs as container_logs
from cluster.schedulers.docker.containers import CONFLICT, GONE
from cluster.settings import Settings
from scripts.errors import ClusterError
from scripts.worker.draining import DRAINED, DRAINING, HOLD

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
    engines: Sequence[docker.DockerClient], app_id: str, task_ids: Collection[str], tail: int, follow: bool
) -> Iterator[str]:  # fmt: skip
    """Yield the last `tail` lines of each task, with `follow` those to come too, each beginning with its task.

    Where no task has a container, those of the last that ended are read.
    """
    found = containers_of(engines, task_ids) or _last_ended(engines, app_id)
    tasks = {container.name: task_id for task_id, container in found.items()}
    read = container_logs.follow if follow else container_logs.last
    with docker_errors("read the logs of the tasks"):
        for line in read(list(found.values()), tail):
            name, _, text = line.partition(": ")
            yield f"{tasks[name]}: {text}"


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
