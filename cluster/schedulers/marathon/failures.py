"""What a person is told when a change did not come to its end: what runs now, and how to go back."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from cluster.interrupts import Interrupted
from cluster.schedulers.marathon import standstill
from cluster.schedulers.marathon.api import Api, App
from cluster.schedulers.marathon.comparison import is_same
from cluster.schedulers.marathon.following import NotDeployed
from cluster.schedulers.marathon.judgement import Goal, Tally
from scripts.errors import ClusterError
from scripts.json_values import mapping


def told(api: Api, goal: Goal, failure: NotDeployed) -> ClusterError:
    """The failure, what runs now, and how to go back."""
    app_id = str(goal.wanted["id"])
    app = api.app(app_id)
    now = f"now {Tally.of(app)}" if app else "nothing of it runs now"
    still = any(each.get("id") == goal.deployment for each in api.deployments())
    goes_on = ", and Marathon goes on trying (what comes next needs --force)" if still else ""
    printed = f"; what they printed: {command('logs', goal.wanted, api.place)}" if failure.has_printed else ""
    return NotDeployed(f"deploy {app_id}: {failure}{printed}; {now}{goes_on}; {next_step(goal, api.place, still, app)}")


def interrupted(api: Api, goal: Goal) -> Interrupted:
    """The line for Ctrl-C while a change is followed."""
    app_id = str(goal.wanted["id"])
    return Interrupted(
        f"interrupted: the deployment of {app_id} goes on; ./inv status -m {api.place} shows how far it is; "
        f"{next_step(goal, api.place, goes_on=True)}"
    )


def next_step(goal: Goal, place: str, goes_on: bool, app: App | None = None) -> str:
    """The command line that undoes a change, or makes it again where it was a new start of the same."""
    force, stop = " --force" if goes_on else "", command("stop", goal.wanted, place)
    if goal.before is None:
        return f"to go back: {stop}"
    if app and goes_on and standstill.never_placed(app):
        tag = mapping(goal.before.get("labels")).get("tag") or "what ran before"
        return f"an instance that finds no agent keeps the place of any other: {stop}, then deploy {tag} again"
    if app and goes_on and standstill.waits_for_the_new(app):
        return f"old instances that are not healthy end when new ones are up: to end them now {stop}, then deploy again"
    if goal.is_scaled:
        before = goal.before.get("instances", 1)
        return f"to go back: {command('scale', goal.wanted, place)} --instances {before}{force}"
    if is_same(goal.before, goal.wanted):
        return f"to try again: {command('restart', goal.wanted, place)}{force}"
    return f"to go back: {command('rollback', goal.wanted, place)}{force}"


def command(task: str, definition: Mapping[str, Any], place: str) -> str:
    """The command line that does this to an app of ours."""
    labels, env = mapping(definition.get("labels")), mapping(definition.get("env"))
    component = labels.get("component", "worker")
    line = f"./inv {component}.{task} -m {place.replace(' ', '')}"
    if component == "queue":
        return line
    queue = f" -q {shlex.quote(str(env['QUEUE_NAME']))}" if env.get("QUEUE_NAME") else ""
    return f"{line}{queue} --app {definition['id']}"
