"""Deployments: one worker a plan (core/deployment/impl/DeploymentManagerActor.scala)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from threading import Thread

from tests.standin.answers import Refused
from tests.standin.keeper import kill
from tests.standin.plans import Action, Change, Definition, Plan, is_scaling, steps
from tests.standin.rolling import begin_roll
from tests.standin.state import App, Backoff, Task
from tests.standin.world import World

_LOCKED = (
    "App is locked by one or more deployments. Override with the option '?force=true'. "
    "View details at '/v2/deployments/<DEPLOYMENT_ID>'."
)

# A test that scripts the world may not tell that it did.
_TICK_S = 0.1


def deploy(
    world: World, wanted: Mapping[str, Definition | None], *, force: bool = False, restart: bool = False
) -> Plan:
    """Begin to bring these apps to these definitions (None: no more); raises Refused (409) when one is locked.

    Returns before anything is started. What is there already makes an empty plan, which is never listed.
    """
    with world.changed:
        present = {name: world.apps[name].definition if name in world.apps else None for name in wanted}
        changes = {name: Change(present[name], new, restart) for name, new in wanted.items()}
        changes = {name: change for name, change in changes.items() if not change.is_none}
        rivals = [plan for plan in world.plans if plan.changes.keys() & changes.keys()]
        if rivals and not force:
            raise Refused(409, _LOCKED, deployments=[{"id": plan.id} for plan in rivals])
        plan = Plan(world.now(), changes, steps(changes))
        for rival in rivals:
            cancel(world, rival)
        for name, change in changes.items():
            _put(world, name, change, plan.version)
        if changes:
            world.plans.append(plan)
            _begin(world, plan, 1)
            Thread(target=_follow, args=(world, plan), daemon=True).start()
        world.changed.notify_all()
        return plan


def cancel(world: World, plan: Plan) -> None:
    """The plan ends; what it did stays as it is."""
    with world.changed:
        plan.cancelled = True
        world.plans.remove(plan)
        for name in plan.changes:
            if name in world.apps:
                world.apps[name].roll = None
        world.changed.notify_all()


def revert(world: World, plan: Plan) -> Plan:
    """A new, forced deployment back to what was before this one."""
    return deploy(world, {name: change.old for name, change in plan.changes.items()}, force=True)


def _put(world: World, name: str, change: Change, version: str) -> None:
    """The change is there for all to see at once; tasks follow."""
    app = world.apps.get(name)
    if change.new is None:
        if app:
            world.leaving.append(world.apps.pop(name))
            for task in list(app.tasks):
                kill(world, task)
        return
    if app is None:
        app = world.apps[name] = App(change.new, version, version, version, _left_over(world, name))
    elif is_scaling(change):
        app.definition, app.version, app.last_scaling = change.new, version, version
    else:
        app.definition, app.version = change.new, version
        app.last_scaling = app.last_config_change = version
    app.scripted = False
    app.history[version] = change.new


def _left_over(world: World, name: str) -> list[Task]:
    """The tasks of an app of this name that was deleted and still has some."""
    before = [app for app in world.leaving if app.definition["id"] == name]
    world.leaving = [app for app in world.leaving if app not in before]
    return [task for app in before for task in app.tasks]


def _follow(world: World, plan: Plan) -> None:
    """The plan's worker: step by step until all is as wanted, or someone ends it."""
    for number in range(1, len(plan.steps) + 1):
        with world.changed:
            if number > plan.current:
                _begin(world, plan, number)
            while not (_is_over(world, plan) or _all_done(world, plan)):
                world.changed.wait(_TICK_S)
            if _is_over(world, plan):
                return
    with world.changed:
        if plan in world.plans:
            world.plans.remove(plan)
            world.changed.notify_all()


def _is_over(world: World, plan: Plan) -> bool:
    return plan.cancelled or world.over.is_set()


def _begin(world: World, plan: Plan, number: int) -> None:
    plan.current = number
    plan.dying = frozenset(task.id for task in world.tasks() if task.killing)
    for action in plan.steps[number - 1]:
        app = world.apps.get(action.app)
        if app and action.kind == "RestartApplication":
            tasks, unplaced = [task.seen() for task in app.tasks], _unplaced(app)
            app.roll, app.backoff = begin_roll(app.definition, tasks, unplaced), Backoff()
            if app.launching:
                app.launching.count, app.launching.waiting = 0, unplaced
    world.changed.notify_all()


def _unplaced(app: App) -> int:
    """How many instances of the app wait for an offer; one that backs off is started soon, and ends as soon."""
    if app.launching is None or app.backoff.left_s(time.monotonic()):
        return 0
    return app.launching.count + app.launching.waiting


def _all_done(world: World, plan: Plan) -> bool:
    """Whether the plan's present step is."""
    step = plan.steps[plan.current - 1]
    if not all(_is_done(world, plan, action) for action in step):
        return False
    for action in step:
        if action.app in world.apps:
            world.apps[action.app].roll = None
    return True


def _is_done(world: World, plan: Plan, action: Action) -> bool:
    if action.kind == "StartApplication":
        return True
    if action.kind == "StopApplication":
        return not any(app.tasks for app in world.leaving if app.definition["id"] == action.app)
    app = world.apps[action.app]
    if action.kind == "RestartApplication" and app.roll:
        tasks = [task for task in app.tasks if task.id not in plan.dying]
        if any(task.id in app.roll.old for task in tasks):
            return False
    living = [task for task in app.tasks if not task.killing]
    dying = {task.id for task in app.tasks if task.killing} - plan.dying
    return len(living) == app.definition["instances"] and not dying and all(task.is_healthy() for task in living)
