"""Keeps every app at its number of tasks: kills, replaces, takes offers (LaunchQueue, OfferMatcher, KillService)."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.standin.agents import Agent, Offer, choose, host_ports
from tests.standin.rolling import keep, roll_on, still_unplaced
from tests.standin.state import App, Launching, Task, task_id
from tests.standin.world import World

# How often offers come when nothing else happens.
_TICK_S = 0.1


class Keeper:
    """Looks at the world whenever it changed; `launch` begins to run a task."""

    def __init__(self, world: World, launch: Callable[[Task], None]) -> None:
        self.world, self._launch = world, launch

    def run(self) -> None:
        """Until all is over."""
        world = self.world
        while not world.over.is_set():
            with world.changed:
                world.changed.wait(_TICK_S)
                for app in list(world.apps.values()):
                    if not app.scripted:
                        self._keep(app)
                world.leaving = [app for app in world.leaving if app.tasks]

    def _keep(self, app: App) -> None:
        tasks = [task.seen() for task in app.tasks]
        moves = roll_on(app.definition, app.roll, tasks) if app.roll else keep(app.definition, tasks)
        for task in list(app.tasks):
            if task.id in moves.kill:
                kill(self.world, task)
        waiting = still_unplaced(app.roll, tasks) if app.roll else 0
        if moves.launch + waiting == 0:
            app.launching = None
            return
        app.launching = app.launching or Launching(moves.launch, self.world.now())
        app.launching.count, app.launching.waiting = moves.launch, waiting
        if moves.launch:
            app.launching.wanted = app.definition | {"version": app.version}
            self._place(app, app.launching)

    def _place(self, app: App, launching: Launching) -> None:
        """Match as many as wanted; no offer is looked at while the back-off lasts."""
        if app.backoff.left_s(time.monotonic()) > 0:
            return
        for _ in range(launching.count):
            agents = self.world.agents
            offered = [agent.offer(self.world.tasks(agent)) for agent in agents]
            # The one with the most room first: so tasks spread.
            pairs = sorted(zip(offered, agents, strict=True), key=lambda pair: -pair[0].cpus)
            chosen, reasons = choose(app.definition, [offer for offer, _ in pairs])
            self._count(launching, reasons, chosen is not None)
            if chosen is None:
                return
            agent = next(agent for offer, agent in pairs if offer is chosen)
            self._take(app, agent, chosen)
            launching.count -= 1
        if launching.count + launching.waiting == 0:
            app.launching = None

    def _count(self, launching: Launching, reasons: list[str], taken: bool) -> None:
        launching.processed += len(reasons) + taken
        launching.unused += len(reasons)
        launching.reasons = reasons or launching.reasons

    def _take(self, app: App, agent: Agent, offer: Offer) -> None:
        ports = agent.pick_ports(host_ports(app.definition), offer.ports)
        app_id = app.definition["id"]
        where = (agent.hostname, app.version, "TASK_STAGING", ports, self.world.now(), None)
        task = Task(task_id(app_id), app_id, *where)
        task.definition, task.agent = app.definition, agent
        app.tasks.append(task)
        self.world.update(task, "TASK_STAGING")
        self._launch(task)


def kill(world: World, task: Task) -> None:
    """Tell a task to end; one that is no container ends at once."""
    with world.changed:
        if task.killing:
            return
        task.killing = True
        if task.agent is None:
            world.end(task, "TASK_KILLED", "Command terminated with signal Terminated")
            return
        task.wake.set()
