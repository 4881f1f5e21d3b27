"""The steps of a deploy on one machine: which instances are stopped, made and kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cluster.apps.app import AppSpec, Kind
from scripts.errors import ClusterError


@dataclass(frozen=True)
class Steps:
    """The numbers of the instances that a deploy stops, makes and keeps."""

    stop: tuple[int, ...]
    create: tuple[int, ...]
    keep: tuple[int, ...]

    @property
    def kind(self) -> Kind:
        """The name of it for people."""
        if not self.stop and not self.create:
            return "nothing"
        if not self.stop and not self.keep:
            return "create"
        return "replace" if set(self.stop) & set(self.create) else "scale"


def decide(app: AppSpec, found: Mapping[int, bool]) -> Steps:
    """Keep the instances of an app that are as wanted (by their numbers), and make the others anew.

    Raises:
        ClusterError: no instances are wanted, or several that would share a fixed port.
    """
    if app.instances < 1:
        raise ClusterError(f"{app.id}: instances is {app.instances}: give 1 or more; stopping an app is a command")
    fixed = [port.host for port in app.ports if port.host]
    if app.instances > 1 and fixed:
        raise ClusterError(
            f"{app.id}: {app.instances} instances cannot share port {fixed[0]} of this machine; "
            "run 1, or set its hostPort to 0 for any free port"
        )
    wanted = range(1, app.instances + 1)
    keep = tuple(number for number in wanted if found.get(number))
    return Steps(
        stop=tuple(number for number in sorted(found) if number not in keep),
        create=tuple(number for number in wanted if number not in keep),
        keep=keep,
    )
