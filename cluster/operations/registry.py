"""The private registry: of this machine, or of a host of the cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cluster import engine
from cluster.components import REGISTRY
from cluster.operations import operate
from cluster.operations.operate import Target
from cluster.registry import container
from cluster.registry import host as host_up
from cluster.registry import local as local_registry
from cluster.registry.dry_run import dry_run as told_of_host
from cluster.schedulers import selection
from cluster.settings import Settings
from scripts.errors import ClusterError


def up(settings: Settings, host: str, address: str, *, dry_run: bool, say: Callable[[str], None]) -> str:
    """Run the private registry of this machine, or of a host, where it does not run as it should; its address.

    With `dry_run`, what would be done, as JSON.
    """
    if host:
        return told_of_host(settings, host, address, say) if dry_run else host_up.up(settings, host, address, say)
    if address:
        raise ClusterError("--address is that of a host's registry: give the host, too, with --host")
    client, where = engine.connect(), selection.local(settings, say)
    if dry_run:
        return local_registry.dry_run(settings, where)
    local_registry.ensure_up(settings, client, where, say)
    return settings.registry


def logs(settings: Settings, host: str, tail: int, follow: bool, say: Callable[[str], None]) -> Iterator[str]:
    """What the registry of this machine, or of a host, printed."""
    if host:
        return container.logs(settings, host, tail, follow, say)
    return operate.logs(_here(settings, say), tail, follow)


def stop(settings: Settings, host: str, say: Callable[[str], None]) -> None:
    """Stop the registry of this machine, or of a host; its images stay."""
    if host:
        container.stop(settings, host, say)
    else:
        operate.stop(_here(settings, say), True, say)


def _here(settings: Settings, say: Callable[[str], None]) -> Target:
    """Return the registry of this machine."""
    engines = selection.of_this_machine(settings, say)
    return Target(REGISTRY.app_id, selection.running(engines, REGISTRY.app_id))
