"""Where apps run: one interface, several schedulers.

`local` is the Docker Engine of this machine, `process` plain processes of this machine, `marathon` the agents of a
cluster. Each takes the same app definition, a Marathon app in the 1.5+ form with its placeholders filled.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from scripts.errors import ClusterError
from scripts.hostport import HostPort

State = Literal["starting", "running", "unhealthy", "stopped"]
Kind = Literal["create", "replace", "scale", "nothing"]


@dataclass(frozen=True)
class App:
    """An app id (`/amqp`) and its filled definition."""

    id: str
    definition: dict[str, Any]

    @property
    def instances(self) -> int:
        """How many instances are wanted.

        Raises:
            ClusterError: a definition says something that is no number of instances.
        """
        wanted = self.definition.get("instances")
        if wanted is not None and type(wanted) is not int:
            raise ClusterError(f"{self.id}: instances is {json.dumps(wanted)}: give a whole number")
        return 1 if wanted is None else wanted


@dataclass(frozen=True)
class Change:
    """What a deploy would do, and what would be sent, for --dry-run.

    `scale` leaves what runs in peace and makes or stops further instances. `differences` are those to what runs, a
    line each, from a scheduler that can tell.
    """

    app_id: str
    kind: Kind
    sent: dict[str, Any]
    differences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Instance:
    """One running copy of an app; `detail` is for people (an exit code, a health check's words)."""

    name: str
    state: State
    image: str = ""
    ports: dict[str, HostPort] = field(default_factory=dict)
    detail: str = ""


@dataclass(frozen=True)
class AppStatus:
    """An app and its instances as they are now."""

    id: str
    instances: tuple[Instance, ...]

    @property
    def running(self) -> int:
        """How many instances run and, where they have a health check, are healthy."""
        return sum(instance.state == "running" for instance in self.instances)


class Scheduler(Protocol):
    """What every scheduler offers; all raise ClusterError for what they cannot do."""

    name: str

    def plan(self, app: App) -> Change:
        """What `deploy` would do now; changes nothing."""

    def deploy(self, app: App, timeout_s: float = 60) -> AppStatus:
        """Run the app as defined, in place of what runs under its id, and return when all of it works.

        Deploying what already runs changes nothing. What would fail is refused before anything is stopped; then old
        instances finish first, in their time (see `stop`), since the new may need their ports and data. What fails to
        come up within `timeout_s` is an error with the last lines it printed, and says what runs now. A deploy that
        was interrupted is finished by the next.
        """

    def scale(self, app_id: str, instances: int, timeout_s: float = 60) -> AppStatus:
        """Run so many instances (1 or more) of the app's present definition; those that run are left in peace."""

    def restart(self, app_id: str, timeout_s: float = 60) -> AppStatus:
        """Stop and start every instance, the definition being the same."""

    def rollback(self, app_id: str, to: str = "", timeout_s: float = 60) -> AppStatus:
        """Run the version `to` of the app again, without one the newest that differs, as many instances as now.

        A scheduler that keeps no versions refuses.
        """

    def stop(self, app_id: str, now: bool = False) -> bool:
        """Stop the app with all it has started and forget it, its data staying; False when there was none.

        Running actions have the definition's `taskKillGracePeriodSeconds` to finish; `now` grants none.
        """

    def status(self) -> list[AppStatus]:
        """All apps of this project, stopped instances included; nothing that someone else made."""

    def logs(self, app_id: str, tail: int = 100, follow: bool = False) -> Iterator[str]:
        """The last `tail` lines of every instance as `name: line`, with `follow` those to come too, until all end."""

    def hostport(self, app_id: str, port_name: str = "") -> HostPort:
        """The address of a port of a running instance: the named one, else the first."""

    def delete_data(self, app_id: str) -> list[str]:
        """Delete the data of a stopped app, or with an empty id of all apps; the names of what was deleted."""
