"""The components: what is in which folder, and what it becomes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cluster.settings import ROOT


@dataclass(frozen=True)
class Component:
    """A folder under components/ that becomes one image and, by its definition, one app.

    `shared` are other folders of the repo whose files are in the image too; `root` is the repo's own folder and the
    build context.
    """

    name: str
    app_id: str
    shared: tuple[str, ...] = ()
    root: Path = ROOT

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.root / "components" / self.name

    @property
    def dockerfile(self) -> Path:
        """How its image is built."""
        return self.folder / "Dockerfile"

    @property
    def definition(self) -> Path:
        """Its app definition, in Marathon's form."""
        return self.folder / f"{self.name}-app.json"

    @property
    def sources(self) -> tuple[Path, ...]:
        """All folders that its image is made from."""
        return (self.folder, *(self.root / name for name in self.shared))


QUEUE = Component("queue", "/amqp")
WORKER = Component("worker", "/worker", shared=("scripts",))
REGISTRY = Component("registry", "/registry")
ALL = (QUEUE, WORKER, REGISTRY)
