"""Changes of apps: shown to a person, and undone where they fail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from cluster.apps.app import AppSpec, Change
from cluster.interrupts import Interrupted
from cluster.schedulers import DeployOptions, Say, Scheduler
from scripts.errors import ClusterError


def tell_change(change: Change, engine: Scheduler, say: Say) -> None:
    """Say what a change does, a line each."""
    said = {
        "create": "{0} is new on {1}",
        "nothing": "{0} runs on {1} as it should: nothing changes",
        "restart": "{0} on {1} is started anew",
    }
    say(said.get(change.kind, "{0} on {1} changes:").format(change.app.id, engine.place))
    for line in () if change.kind in said else change.differences:
        say(f"  {line}")


def as_json(change: Change) -> str:
    """Return what a change would send, for --dry-run."""
    return json.dumps(change.sent, indent=2)


@contextmanager
def undone_on_failure(engine: Scheduler, app_id: str, before: AppSpec | None, say: Say) -> Iterator[None]:
    """Bring back what ran before when what is done to an app fails.

    Raises:
        ClusterError: the failure, and what came of bringing it back.
    """
    try:
        yield
    except Interrupted:
        raise
    except ClusterError as failure:
        outcome = _undo(engine, app_id, before, say)
        if not outcome:
            raise
        between = "\n" if "\n" in str(failure) else "; "
        raise ClusterError(f"{failure}{between}{outcome}") from failure


def _undo(engine: Scheduler, app_id: str, before: AppSpec | None, say: Say) -> str:
    """Bring back what ran before and return the outcome; empty where it runs anyway."""
    options = DeployOptions(force=True, drain=False)
    try:
        now = engine.present(app_id)
        if now == before and (now is None or before is None or now.native == before.native):
            return ""
        say(f"{app_id}: going back to what ran before")
        if before is None:
            engine.stop(app_id, drain=False)
            return "rolled back: nothing ran before, so it was stopped"
        running = engine.apply(engine.plan(before, options), options).running
    except ClusterError as error:
        return f"and it could not be rolled back: {error}"
    return f"rolled back: {running} of {before.instances} instances of what ran before run"
