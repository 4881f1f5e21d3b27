"""From a change to its end: instances that work, or why they do not, what runs now and how to go back."""

from __future__ import annotations

import shlex
import time
from collections.abc import Collection, Mapping
from typing import Any

from cluster import schedulers
from cluster.interrupts import Interrupted
from cluster.schedulers import ChangeFailed, DeployOptions, LongWait, Say
from cluster.schedulers.marathon import judgement
from cluster.schedulers.marathon.api import Accepted, Api
from cluster.schedulers.marathon.definition import is_same
from cluster.schedulers.marathon.judgement import Goal, Judgement, Tally, judge
from cluster.terminal import live_line
from scripts.errors import ClusterError, ServiceAway
from scripts.marathon.answers import App, Task, fresh_failure, is_healthy, is_outdated, mapping, mappings, moment, runs
from scripts.marathon.app_reasons import last_failure, reasons

# How often Marathon is asked: at first often, later seldom, since an app of a thousand instances is a long answer.
POLL_S = 0.5
_LONGEST_POLL_S = 2

# How long instances may be missing after a deployment is over: one may have ended in that moment.
SETTLE_S = 5

# After so many instances that ended, with none ever up, going on would change nothing.
FAILURES = 3

# From the end of a task's grace until Marathon has heard of its end.
_AFTER_GRACE_S = 30


class NotDeployed(ClusterError):
    """A change did not come to its end; `has_printed` when instances ended, whose last words may tell why.

    `stands` says that the app is still as it made it, and not as someone else did meanwhile.
    """

    def __init__(self, words: str, has_printed: bool = False, stands: bool = True) -> None:
        super().__init__(words)
        self.has_printed, self.stands = has_printed, stands


class _History:
    """Remembers which instances of the present definition ended, and since when others run."""

    def __init__(self, goal: Goal) -> None:
        self._goal = goal
        self._failed: set[str] = set()
        self._seen: set[str] = set()
        self._there: set[str] = set()
        self._up_since: dict[str, float] = {}
        self.was_up = False
        self.is_steady = True  # all that is up is past its first moment, in which a wrong command ends, or has a check

    @property
    def ended(self) -> int:
        """The number that failed, or were there and are no more: an exit code of 0 is no failure to Marathon."""
        return len(self._failed | (self._seen - self._there))

    def note(self, app: App) -> str:
        """Take in an answer; return the words for a failure that is new, else nothing."""
        now = time.monotonic()
        current = [task for task in mappings(app.get("tasks")) if not is_outdated(app, task)]
        self._there = {str(task.get("id")) for task in current}
        self._seen |= self._there
        up = [task for task in current if runs(task) and is_healthy(app, task)]
        self._up_since = {str(task.get("id")): self._since(task, now) for task in up}
        least_s = 0 if app.get("healthChecks") else schedulers.SETTLED_S
        settled = [now - since >= least_s for since in self._up_since.values()]
        self.was_up, self.is_steady = self.was_up or any(settled), all(settled)
        task = self.last_failed(app)
        if not task or task in self._failed:
            return ""
        self._failed.add(task)
        return last_failure(app)

    def last_failed(self, app: App) -> str:
        """Return the id of the task of the present definition that failed last since the change, else nothing."""
        failure = fresh_failure(app)
        changed = mapping(app.get("versionInfo")).get("lastConfigChangeAt")
        of_before = moment(failure.get("timestamp")) < moment(self._goal.version)
        if of_before or moment(failure.get("version") or changed) < moment(changed):
            return ""
        return str(failure.get("taskId") or failure.get("timestamp") or "")

    def _since(self, task: Task, now: float) -> float:
        """Return since when an instance is up; one that ran before the change has proved itself."""
        is_older = moment(task.get("startedAt")) < moment(self._goal.version)
        return self._up_since.get(str(task.get("id")), float("-inf") if is_older else now)


class Following:
    """Follows one change: `say` takes a line for each event, `show` what goes on now; `follow` may be called once."""

    def __init__(self, api: Api, goal: Goal, say: Say, show: Say) -> None:
        self._api, self._goal, self._say, self._show = api, goal, say, show
        self._app_id = goal.app_id
        self._history = _History(goal)
        self._was_listed = False
        self._wait = LongWait(say)
        self._undone_since: float | None = None
        self._made_way: set[str] = set()

    def follow(self, timeout_s: float) -> None:
        """Return when all instances work; raise NotDeployed, with the reason, where they do not in this time."""
        while True:
            try:
                if self._is_done(self._wait.passed_s >= timeout_s, timeout_s):
                    return
            except ServiceAway as away:
                if self._wait.passed_s >= timeout_s:
                    raise
                self._show(str(away))
            passed_s = self._wait.passed_s
            time.sleep(min(_LONGEST_POLL_S, max(POLL_S, passed_s / 60), max(0.0, timeout_s - passed_s)))

    def _is_done(self, is_late: bool, timeout_s: float) -> bool:
        """Look once; return whether the change has come to its end."""
        deployments = self._api.deployments()
        app = self._api.app(self._app_id)
        is_listed = any(each.get("id") == self._goal.deployment for each in deployments)
        self._was_listed = self._was_listed or is_listed
        found = judge(self._goal, app, deployments, self._was_listed)
        if found.state == "failed" or app is None:
            raise NotDeployed(found.words, stands=False)
        if failure := self._history.note(app):
            self._say(f"an instance of {self._app_id} {failure}")
        if is_listed:
            self._make_way(app)
        if found.state == "done" and self._history.is_steady:
            return True
        why_not = reasons(app, self._api.queue(), last_failure(app) if self._history.last_failed(app) else "")
        now = "; ".join([found.words, *why_not[-1:]])
        self._show(now)
        self._wait.tell(f"waiting for {self._app_id}, {timeout_s:g} s at most: {now}")
        why = self._given_up(found) or (f"not done after {timeout_s:g} s: {found.words}" if is_late else "")
        if why:
            raise NotDeployed("; ".join([why, *why_not]), has_printed=self._history.ended > 0)
        return False

    def _make_way(self, app: App) -> None:
        """End the old instances that Marathon would leave in the way of the new ones."""
        tasks = {str(task.get("id")): task for task in judgement.in_the_way(app, self._goal.before)}
        if new := tasks.keys() - self._made_way:
            self._api.kill(self._app_id, new)
            self._made_way |= new
            hosts = ", ".join(sorted({str(tasks[task].get("host")) for task in new}))
            self._say(f"the old instance of {self._app_id} on {hosts} was not healthy, and is ended for the new one")

    def _given_up(self, found: Judgement) -> str:
        """Return why to wait no longer; empty when there is hope."""
        if self._history.ended >= FAILURES and not self._history.was_up:
            return f"{self._history.ended} instances ended and none stayed up"
        if found.state != "undone":
            self._undone_since = None
            return ""
        self._undone_since = self._undone_since or time.monotonic()
        return found.words if time.monotonic() - self._undone_since >= SETTLE_S else ""


def reach(api: Api, goal: Goal, options: DeployOptions, say: Say) -> None:
    """Follow a change to its end.

    Raises:
        ChangeFailed: with the reason, where the caller undoes it.
        NotDeployed: with the reason, what runs now, and how to go back.
        ServiceAway: Marathon does not answer at the end of the time, so nothing can be undone; with how to go back.
        Interrupted: by Ctrl-C; the change goes on.
    """
    try:
        with live_line(f"{goal.app_id} on Marathon") as show:
            Following(api, goal, say, show).follow(options.timeout_s)
    except NotDeployed as failure:
        words = f"deploy {goal.app_id}: {failure}"
        if options.undo and goal.deployment and failure.stands:  # whoever undoes it says what came of it
            raise ChangeFailed(words) from failure
        raise NotDeployed(f"{words}{_afterwards(api, goal, failure)}") from failure
    except ServiceAway as away:
        next_step = _next_step(goal, api.flag, goes_on=True)
        raise ServiceAway(f"{away}; the deployment of {goal.app_id} may go on there; {next_step}") from away
    except KeyboardInterrupt:
        raise Interrupted(
            f"interrupted: the deployment of {goal.app_id} goes on; ./inv status{api.flag} shows how far it is; "
            f"{_next_step(goal, api.flag, goes_on=True)}"
        ) from None


def _afterwards(api: Api, goal: Goal, failure: NotDeployed) -> str:
    """Return what runs now after a failure, and how to go back."""
    app = api.app(goal.app_id)
    now = f"now {Tally.of(app)}" if app else "nothing of it runs now"
    still = any(each.get("id") == goal.deployment for each in api.deployments())
    goes_on = ", and Marathon goes on trying (what comes next needs --force)" if still else ""
    printed = f"; what they printed: {_command('logs', goal.wanted, api.flag)}" if failure.has_printed else ""
    return f"{printed}; {now}{goes_on}; {_next_step(goal, api.flag, still, app)}"


def _next_step(goal: Goal, flag: str, goes_on: bool, app: App | None = None) -> str:
    """Return the command line that undoes a change, or makes it again where it was a new start of the same."""
    force, stop = " --force" if goes_on else "", _command("stop", goal.wanted, flag)
    if goal.before is None:
        return f"to go back: {stop}"
    if app and goes_on and judgement.never_placed(app):
        tag = mapping(goal.before.get("labels")).get("tag") or "what ran before"
        return f"an instance that finds no agent keeps the place of any other: {stop}, then deploy {tag} again"
    if app and goes_on and judgement.waits_for_the_new(app):
        return f"old instances that are not healthy end when new ones are up: to end them now {stop}, then deploy again"
    if goal.is_scaled:
        before = goal.before.get("instances", 1)
        return f"to go back: {_command('scale', goal.wanted, flag)} --instances {before}{force}"
    if is_same(goal.before, goal.wanted):
        return f"to try again: {_command('restart', goal.wanted, flag)}{force}"
    return f"to go back: {_command('rollback', goal.wanted, flag)}{force}"


def _command(task: str, definition: Mapping[str, Any], flag: str) -> str:
    """Return the command line that does this to an app of ours."""
    labels, env = mapping(definition.get("labels")), mapping(definition.get("env"))
    component = labels.get("component", "worker")
    line = f"./inv {component}.{task}{flag}"
    if component == "queue":
        return line
    queue = f" -q {shlex.quote(str(env['QUEUE_NAME']))}" if env.get("QUEUE_NAME") else ""
    return f"{line}{queue} --app {definition['id']}"


def wait_until_gone(api: Api, app: App, accepted: Accepted, task_ids: Collection[str], say: Say) -> None:
    """Wait until the tasks of a deleted app have ended: Marathon answers before, and lists them no longer."""
    grace_s, wait = int(app.get("taskKillGracePeriodSeconds") or 0), LongWait(say)
    while any(each.get("id") == accepted.deployment for each in api.deployments()):
        wait.tell(f"waiting for {', '.join(sorted(task_ids))} to finish, {grace_s} s at most (--now does not wait)")
        if wait.passed_s > grace_s + _AFTER_GRACE_S:
            raise ClusterError(f"stop {app.get('id')}: deleted, but Marathon still waits for its instances to end")
        time.sleep(POLL_S)
