"""Messages about a change that did not come to its end: what runs now, and how to go back."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from cluster.interrupts import Interrupted
from cluster.schedulers.marathon import standstill
from cluster.schedulers.marathon.api import Api
from cluster.schedulers.marathon.comparison import is_same
from cluster.schedulers.marathon.following import NotDeployed
from cluster.schedulers.marathon.judgement import Goal, Tally
from scripts.errors import ClusterError
from scripts.marathon.answers import App, mapping


def failure_message(api: Api, goal: Goal, failure: NotDeployed) -> ClusterError:
    """Return the error that says what failed, what runs now, and how to go back."""
    app = api.app(goal.app_id)
    now = f"now {Tally.of(app)}" if app else "nothing of it runs now"
    still = any(each.get("id") == goal.deployment for each in api.deployments())
    goes_on = ", and Marathon goes on trying (what comes next needs --force)" if still else ""
    printed = f"; what they printed: {_command('logs', goal.wanted, api.address)}" if failure.has_printed else ""
    next_step = _next_step(goal, api.address, still, app)
    return NotDeployed(f"deploy {goal.app_id}: {failure}{printed}; {now}{goes_on}; {next_step}")


def interrupted(api: Api, goal: Goal) -> Interrupted:
    """Return the error for Ctrl-C while a change is followed."""
    return Interrupted(
        f"interrupted: the deployment of {goal.app_id} goes on; ./inv status -m {api.address} shows how far it is; "
        f"{_next_step(goal, api.address, goes_on=True)}"
    )


def _next_step(goal: Goal, address: str, goes_on: bool, app: App | None = None) -> str:
    """Return the command line that undoes a change, or makes it again where it was a new start of the same."""
    force, stop = " --force" if goes_on else "", _command("stop", goal.wanted, address)
    if goal.before is None:
        return f"to go back: {stop}"
    if app and goes_on and standstill.never_placed(app):
        tag = mapping(goal.before.get("labels")).get("tag") or "what ran before"
        return f"an instance that finds no agent keeps the place of any other: {stop}, then deploy {tag} again"
    if app and goes_on and standstill.waits_for_the_new(app):
        return f"old instances that are not healthy end when new ones are up: to end them now {stop}, then deploy again"
    if goal.is_scaled:
        before = goal.before.get("instances", 1)
        return f"to go back: {_command('scale', goal.wanted, address)} --instances {before}{force}"
    if is_same(goal.before, goal.wanted):
        return f"to try again: {_command('restart', goal.wanted, address)}{force}"
    return f"to go back: {_command('rollback', goal.wanted, address)}{force}"


def _command(task: str, definition: Mapping[str, Any], address: str) -> str:
    """Return the command line that does this to an app of ours."""
    labels, env = mapping(definition.get("labels")), mapping(definition.get("env"))
    component = labels.get("component", "worker")
    line = f"./inv {component}.{task} -m {address.replace(' ', '')}"
    if component == "queue":
        return line
    queue = f" -q {shlex.quote(str(env['QUEUE_NAME']))}" if env.get("QUEUE_NAME") else ""
    return f"{line}{queue} --app {definition['id']}"
