"""The registry's container on a host: its log, its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cluster.components import REGISTRY
from cluster.hosts import ssh
from cluster.hosts.host import Host
from cluster.interrupts import Interrupted
from cluster.schedulers import Scheduler, selection
from cluster.settings import Settings
from scripts.errors import ClusterError

Say = Callable[[str], None]


def logs(settings: Settings, host: str, tail: int, follow: bool, say: Say) -> Iterator[str]:
    """The last lines that the registry of a host printed, with `follow` those to come, too."""
    with ssh.connected(settings, Host.parse(host)) as remote:
        where = selection.on_host(settings, remote, say)
        _refuse_absent(where, remote.name)
        yield from where.logs(REGISTRY.app_id, tail, follow)


def stop(settings: Settings, host: str, say: Say) -> None:
    """End the registry of a host; its images, its certificate and its login stay there."""
    with ssh.connected(settings, Host.parse(host)) as remote:
        where = selection.on_host(settings, remote, say)
        _refuse_absent(where, remote.name)
        say(f"stopping the registry on {remote.name}; its images stay there")
        try:
            where.stop(REGISTRY.app_id)
        except KeyboardInterrupt:
            raise Interrupted(
                f"interrupted: {remote.name} goes on stopping it; ./inv registry.status --host {host} shows it"
            ) from None


def _refuse_absent(where: Scheduler, name: str) -> None:
    if where.present(REGISTRY.app_id) is None:
        raise ClusterError(f"{name}: no registry of this project is there: `./inv registry.up --host {name}`")
