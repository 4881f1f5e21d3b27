"""The components: what is in which folder, and what it becomes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cluster.settings import ROOT


@dataclass(frozen=True)
class Component:
    """A folder under components/ that becomes one image and, by its definition, one app."""

    name: str
    app_id: str

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return ROOT / "components" / self.name

    @property
    def dockerfile(self) -> Path:
        """How its image is built."""
        return self.folder / "Dockerfile"

    @property
    def definition(self) -> Path:
        """Its app definition, in Marathon's form."""
        return self.folder / f"{self.name}-app.json"


QUEUE = Component("queue", "/amqp")
WORKER = Component("worker", "/worker")
REGISTRY = Component("registry", "/registry")
ALL = (QUEUE, WORKER, REGISTRY)
