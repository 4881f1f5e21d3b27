"""The components: a folder each, from which an image and an app are made."""

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
        """The folder of its files."""
        return self.root / "components" / self.name

    @property
    def dockerfile(self) -> Path:
        """The file that its image is built by."""
        return self.folder / "Dockerfile"

    @property
    def definition(self) -> Path:
        """The file of its app definition, in Marathon's form."""
        return self.folder / f"{self.name}-app.json"

    @property
    def sources(self) -> tuple[Path, ...]:
        """The folders that its image is made from."""
        return (self.folder, *(self.root / name for name in self.shared))


QUEUE = Component("queue", "/amqp")
WORKER = Component("worker", "/worker", shared=("scripts",))
REGISTRY = Component("registry", "/registry")
ALL = (QUEUE, WORKER, REGISTRY)
