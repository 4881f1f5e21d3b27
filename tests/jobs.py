"""An engine of jobs that wait, run and end as a test says: as much of one as operations ask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from cluster.apps.app import AppSpec, AppStatus, Change, Image, Instance
from cluster.schedulers import BrokerLocation, DeployOptions, Scheduler
from scripts.hostport import HostPort

FILE = "@/shared/cluster/apps/amqp/address"


class Jobs:
    """An engine that runs what it is told, and lets wait what `waits` has; `states` are those of an app by its id.

    What instances call node1:20001 and node1:20002 are AMQP and the management API, on other ports of this machine.
    """

    name, place, flag, address, user, caveat = "slurm", "a cluster of jobs", " --at slurm", "", "", ""
    is_here = has_hosts = makes_data_folders = has_images = False
    limits_resources = is_batch = True
    options = ("partition", "here", "rabbitmq")

    def __init__(self, amqp: int = 30_001, management: int = 30_002) -> None:
        self.apps: dict[str, AppSpec] = {}
        self.waits: Sequence[Instance] = ()
        self.states: dict[str, Sequence[Instance]] = {}
        self.idle: frozenset[str] = frozenset()
        self._ways = {20_001: amqp, 20_002: management}

    def image(self, tag: str) -> Image:
        return Image(tag, tag)

    def present(self, app_id: str) -> AppSpec | None:
        return self.apps.get(app_id)

    def plan(self, app: AppSpec, options: DeployOptions = DeployOptions(), *, restart: bool = False) -> Change:
        return Change(app, "replace" if app.id in self.apps else "create", {})

    def apply(self, change: Change, options: DeployOptions = DeployOptions()) -> AppStatus:
        self.apps[change.app.id] = change.app
        self.states.pop(change.app.id, None)
        self.idle = options.idle()
        return self._status_of(change.app)

    def stop(self, app_id: str, now: bool = False) -> bool:
        return bool(self.apps.pop(app_id, None))

    def delete_data(self, app_id: str) -> list[str]:
        return [] if self.apps else ["data/amqp"]

    def status(self) -> list[AppStatus]:
        return [self._status_of(app) for app in self.apps.values()]

    def _status_of(self, app: AppSpec) -> AppStatus:
        if app.id in self.states:
            return AppStatus(app, tuple(self.states[app.id]))
        runs = [Instance(f"r-{number}", "running") for number in range(app.instances - len(self.waits))]
        return AppStatus(app, (*runs, *self.waits))

    def logs(self, app_id: str, tail: int) -> list[str]:
        return [f"{app_id}: its last line"]

    def run_once(self, app: AppSpec) -> tuple[int, list[str]]:
        return 0, []

    def address_of(self, app_id: str, port_name: str) -> HostPort:
        return HostPort("node1", {"amqp": 20_001, "management": 20_002}[port_name])

    def reach(self, address: HostPort) -> HostPort:
        return HostPort("127.0.0.1", self._ways[address.port])

    def place_of(self, file: Path) -> str:
        return f"/shared/files/{file.name}"

    def broker_for(self, queue_app: str) -> BrokerLocation:
        return BrokerLocation(("-u", FILE))


def waiting(count: int, why: str) -> list[Instance]:
    return [Instance(f"w-{number}", "waiting", detail=why) for number in range(count)]


def as_engine(jobs: Jobs) -> Scheduler:
    return cast(Scheduler, jobs)
