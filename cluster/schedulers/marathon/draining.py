"""Workers that finish what they run, asked over SSH before Marathon ends them, which gives them little time."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import docker

from cluster.apps.app import DRAIN
from cluster.interrupts import Interrupted
from cluster.schedulers import Say, waiting
from cluster.schedulers.marathon import agents
from cluster.schedulers.marathon.agents import Engines
from cluster.schedulers.marathon.api import Api
from cluster.schedulers.marathon.comparison import app_of
from scripts.errors import ClusterError
from scripts.marathon.answers import App, moment

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
                self._wait(_Round(engines, self.say, otherwise), task_ids, spec.stop_grace_s)
        except KeyboardInterrupt:
            raise Interrupted(
                f"interrupted: Marathon was told nothing; workers of {spec.id} that are done start anew in 5 minutes"
            ) from None
        except ClusterError as error:
            self.say(f"{error}: {otherwise}")

    def _wait(self, one: _Round, task_ids: Callable[[], set[str]], most_s: float) -> None:
        began, is_said = time.monotonic(), False
        while (left := self._left(one, task_ids)) and (passed_s := time.monotonic() - began) < most_s:
            if passed_s > waiting.SILENCE_S and not is_said:
                self.say(f"waiting for {', '.join(sorted(left))} to finish what they run")
                is_said = True
            time.sleep(POLL_S if passed_s > POLL_S else _FIRST_POLL_S)

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
        containers = agents.containers_of(self._engines, asked)
        self._give_up(asked - containers.keys(), "on no agent that was reached")
        states = {task_id: agents.ask_to_drain(container) for task_id, container in containers.items()}
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
