"""From a change to instances that work, or the reason why it does not come to that."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from cluster.schedulers import waiting
from cluster.schedulers.marathon import standstill
from cluster.schedulers.marathon.api import Api, App
from cluster.schedulers.marathon.history import History
from cluster.schedulers.marathon.judgement import Goal, Judgement, judge
from scripts.errors import ClusterError, ServiceAway
from scripts.marathon.app_reasons import last_failure, reasons

# How often Marathon is asked: at first often, later seldom, since an app of a thousand instances is a long answer.
POLL_S = 0.5
_LONGEST_POLL_S = 2

# How long instances may be missing after a deployment is over: one may have ended in that moment.
SETTLE_S = 5

# After so many instances that ended, with none ever up, going on would change nothing.
FAILURES = 3


class NotDeployed(ClusterError):
    """A change did not come to its end; `has_printed` when instances ended, whose last words may tell why."""

    def __init__(self, words: str, has_printed: bool = False) -> None:
        super().__init__(words)
        self.has_printed = has_printed


@dataclass(frozen=True)
class Watch:
    """Who is told: `say` a line for each event, `show` what goes on now."""

    say: Callable[[str], None]
    show: Callable[[str], None]


class Following:
    """Follows one change; `follow` may be called once."""

    def __init__(self, api: Api, goal: Goal, watch: Watch) -> None:
        self._api, self._goal, self._watch = api, goal, watch
        self._app_id = str(goal.wanted["id"])
        self._history = History(goal)
        self._was_listed = False
        self._begun = time.monotonic()
        self._is_told = False
        self._undone_since: float | None = None
        self._made_way: set[str] = set()

    def follow(self, timeout_s: float) -> str:
        """Return when all instances work, with how many.

        Raises:
            NotDeployed: it failed, or did not end in time; it says why.
            ServiceAway: Marathon has not answered for as long.
        """
        deadline = self._begun + timeout_s
        while True:
            try:
                words = self._look(is_late=time.monotonic() >= deadline, timeout_s=timeout_s)
            except ServiceAway as away:
                if time.monotonic() >= deadline:
                    raise
                self._watch.show(str(away))
                words = ""
            if words:
                return words
            pause_s = min(_LONGEST_POLL_S, max(POLL_S, (time.monotonic() - self._begun) / 60))
            time.sleep(min(pause_s, max(0.0, deadline - time.monotonic())))

    def _look(self, is_late: bool, timeout_s: float) -> str:
        """Look once; how it ended, or nothing while it goes on."""
        deployments = self._api.deployments()
        app = self._api.app(self._app_id)
        is_listed = any(each.get("id") == self._goal.deployment for each in deployments)
        self._was_listed = self._was_listed or is_listed
        found = judge(self._goal, app, deployments, self._was_listed)
        if found.state == "failed" or app is None:
            raise NotDeployed(found.words)
        failure = self._history.note(app)
        if failure:
            self._watch.say(f"an instance of {self._app_id} {failure}")
        if is_listed:
            self._make_way(app)
        if found.state == "done" and self._history.is_steady(app):
            return found.words
        why_not = reasons(app, self._api.queue(), last_failure(app) if self._history.last_failed(app) else "")
        self._tell("; ".join([found.words, *why_not[-1:]]), timeout_s)
        why = self._given_up(found) or (f"not done after {timeout_s:g} s: {found.words}" if is_late else "")
        if why:
            raise NotDeployed("; ".join([why, *why_not]), has_printed=self._history.ended > 0)
        return ""

    def _make_way(self, app: App) -> None:
        """End the old instances that Marathon would leave in the way of the new ones."""
        tasks = {str(task.get("id")): task for task in standstill.in_the_way(app, self._goal.before)}
        new = tasks.keys() - self._made_way
        if not new:
            return
        self._api.kill(self._app_id, new)
        self._made_way |= new
        hosts = ", ".join(sorted({str(tasks[task].get("host")) for task in new}))
        self._watch.say(f"the old instance of {self._app_id} on {hosts} was not healthy, and is ended for the new one")

    def _tell(self, now: str, timeout_s: float) -> None:
        """Show what goes on; once also to those who have no line to show it on."""
        self._watch.show(now)
        if not self._is_told and time.monotonic() - self._begun > waiting.SILENCE_S:
            self._watch.say(f"waiting for {self._app_id}, {timeout_s:g} s at most: {now}")
            self._is_told = True

    def _given_up(self, found: Judgement) -> str:
        """Why to wait no longer; empty when there is hope."""
        if self._history.ended >= FAILURES and not self._history.was_up:
            return f"{self._history.ended} instances ended and none stayed up"
        if found.state != "undone":
            self._undone_since = None
            return ""
        self._undone_since = self._undone_since or time.monotonic()
        return found.words if time.monotonic() - self._undone_since >= SETTLE_S else ""
