"""What a deployment is: steps from one set of definitions to another (core/deployment/DeploymentPlan.scala)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Definition = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """One app before and after; None: it was not, or is no more."""

    old: Definition | None
    new: Definition | None
    restart: bool = False

    @property
    def is_none(self) -> bool:
        return self.old == self.new and not self.restart


@dataclass(frozen=True)
class Action:
    """StartApplication, ScaleApplication, RestartApplication or StopApplication."""

    kind: str
    app: str


Step = tuple[Action, ...]


@dataclass(eq=False)
class Plan:
    """A deployment; `current` counts its steps from 1, `dying` are the tasks that were told to end before its step."""

    version: str
    changes: dict[str, Change]
    steps: tuple[Step, ...]
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    current: int = 0
    cancelled: bool = False
    dying: frozenset[str] = frozenset()

    def as_json(self) -> dict[str, Any]:
        """As /v2/deployments has it."""
        current = self.steps[self.current - 1] if self.current else ()
        return {
            "id": self.id,
            "version": self.version,
            "affectedApps": list(self.changes),
            "affectedPods": [],
            "steps": [{"actions": [_action(action) for action in step]} for step in self.steps],
            "currentActions": [_action(action) | {"readinessCheckResults": []} for action in current],
            "currentStep": self.current,
            "totalSteps": len(self.steps),
        }


def steps(changes: Mapping[str, Change]) -> tuple[Step, ...]:
    """Stop what goes, start what comes with no task, then scale and restart."""
    stopped = tuple(Action("StopApplication", app) for app, change in changes.items() if change.new is None)
    started = tuple(Action("StartApplication", app) for app, change in changes.items() if change.old is None)
    moved = tuple(Action(_kind(change), app) for app, change in changes.items() if change.new is not None)
    return tuple(step for step in (stopped, started, moved) if step)


def _kind(change: Change) -> str:
    return "ScaleApplication" if is_scaling(change) or change.old is None else "RestartApplication"


def is_scaling(change: Change) -> bool:
    """Whether the number of instances is all that changes."""
    if change.restart or change.old is None or change.new is None:
        return False
    return change.old | {"instances": 0} == change.new | {"instances": 0}


def _action(action: Action) -> dict[str, Any]:
    return {"action": action.kind, "app": action.app}
