"""The private registry: of this machine, or of a host of the cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cluster import engine
from cluster.components import REGISTRY
from cluster.hosts import ssh
from cluster.hosts.host import Host
from cluster.interrupts import Interrupted
from cluster.operations.operate import Target
from cluster.registry import host as host_registry
from cluster.registry import local as local_registry
from cluster.schedulers import Say, selection
from cluster.settings import Settings
from scripts.errors import ClusterError


def up(settings: Settings, host: str, address: str, *, dry_run: bool, say: Say) -> str:
    """Run the private registry of this machine, or of a host, where it does not run as it should; return its address.

    With `dry_run`, return what would be done, as JSON.
    """
    if host:
        return (host_registry.dry_run if dry_run else host_registry.up)(settings, host, address, say)
    if address:
        raise ClusterError("--address is that of a host's registry: give the host, too, with --host")
    client, here = engine.connect(), selection.local(settings, say)
    if dry_run:
        return local_registry.dry_run(settings, here)
    local_registry.ensure_up(settings, client, here, say)
    return settings.registry


def logs(settings: Settings, host: str, tail: int, follow: bool, say: Say) -> Iterator[str]:
    """Yield the last lines that the registry of this machine, or of a host, printed."""
    with _target(settings, host, say) as registry:
        yield from registry.engine.logs(registry.app_id, tail, follow)


def stop(settings: Settings, host: str, say: Say) -> None:
    """Stop the registry of this machine, or of a host; its images, its certificate and its login stay."""
    with _target(settings, host, say) as registry:
        say(f"stopping the registry on {registry.engine.place}; its images stay there")
        try:
            registry.engine.stop(registry.app_id)
        except KeyboardInterrupt:
            raise Interrupted(
                f"interrupted: {registry.engine.place} goes on stopping it; ./inv registry.status shows it"
            ) from None


@contextmanager
def _target(settings: Settings, host: str, say: Say) -> Iterator[Target]:
    """Yield the registry of this machine, or of a host.

    Raises:
        ClusterError: it does not run there.
    """
    if not host:
        yield Target(REGISTRY.app_id, selection.running(selection.of_this_machine(settings, say), REGISTRY.app_id))
        return
    with ssh.connected(settings, Host.parse(host)) as remote:
        there = selection.on_host(settings, remote, say)
        if there.present(REGISTRY.app_id) is None:
            raise ClusterError(f"{host}: no registry of this project is there: `./inv registry.up --host {host}`")
        yield Target(REGISTRY.app_id, there)
