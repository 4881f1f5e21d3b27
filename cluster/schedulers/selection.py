"""Which scheduler runs apps: those of this machine, or a Marathon."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cluster.schedulers import Scheduler
from cluster.settings import Settings
from scripts.errors import ClusterError, ServiceAway

if TYPE_CHECKING:
    from cluster.schedulers.marathon.scheduler import Manner, Marathon
    from cluster.schedulers.one_machine import OneMachine

# How long one address of Marathon may take to answer.
_ANSWER_S = 10


def scheduler(settings: Settings) -> OneMachine[Any]:
    """The scheduler of this machine that invoke.yaml names; with `marathon` there it is the engine.

    Raises:
        ServiceAway: it is `local` and no Docker Engine answers.
    """
    return process(settings) if settings.scheduler == "process" else local(settings)


def every_scheduler(settings: Settings) -> list[Scheduler]:
    """All schedulers that may have something running here; without an engine that is `process` alone.

    Where there should be one, such as that of DOCKER_HOST, or it does not let this user in, STDERR says so.
    """
    from cluster.engine import NoEngine, OtherMachine
    from cluster.schedulers.one_machine import to_stderr

    try:
        return [local(settings), process(settings)]
    except (ServiceAway, OtherMachine) as error:
        if settings.scheduler != "process" and not isinstance(error, NoEngine):
            to_stderr(f"not looked for in containers: {error}")
        return [process(settings)]


def running(settings: Settings, app_id: str) -> Scheduler:
    """The scheduler under which an app runs here.

    Raises:
        ClusterError: under none.
    """
    for where in every_scheduler(settings):
        if app_id in [app.id for app in where.status()]:
            return where
    raise ClusterError(f"{app_id} does not run here: `./inv status` shows what does")


def local(settings: Settings) -> OneMachine[Any]:
    """Return the Docker Engine of this machine.

    Raises:
        OtherMachine: DOCKER_HOST or the docker context names another machine's.
        ServiceAway: none answers.
    """
    from cluster import engine
    from cluster.schedulers.docker.scheduler import Local

    return Local(engine.connect_here(), settings.project)


def process(settings: Settings) -> OneMachine[Any]:
    """Plain processes of this machine."""
    from cluster.schedulers.process.scheduler import Process

    return Process(settings.project)


def marathon_of(settings: Settings, given: str) -> str:
    """The Marathon that is meant, `host:port[,host:port]`: -m, else invoke.yaml where its scheduler is marathon.

    Empty means this machine.

    Raises:
        ClusterError: the scheduler is marathon and nothing says where one is.
    """
    if given or settings.scheduler != "marathon":
        return given
    return a_marathon_of(settings, "")


def a_marathon_of(settings: Settings, given: str) -> str:
    """Marathon's address where one is needed: -m, else invoke.yaml.

    Raises:
        ClusterError: nothing says where it is.
    """
    found = given or settings.marathon
    if not found:
        raise ClusterError("-m is missing: give Marathon's address, HOST:PORT, or set marathon: in invoke.yaml")
    return found


def marathon(settings: Settings, address: str, say: Callable[[str], None], manner: Manner | None = None) -> Marathon:
    """The Marathon at this address.

    Raises:
        ClusterError: an address or credentials that cannot be.
    """
    from cluster.schedulers.marathon import engines as agent_engines
    from cluster.schedulers.marathon import scheduler as at_marathon
    from cluster.schedulers.marathon.api import Api
    from scripts.marathon import api as asked

    api = Api(asked.Marathon(address, "", _ANSWER_S, os.environ), address)
    engines = agent_engines.of(settings, say)
    return at_marathon.Marathon(api, settings.project, say, manner or at_marathon.Manner(), engines)
