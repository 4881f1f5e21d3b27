"""The private registry of this machine."""

from __future__ import annotations

from typing import Any

from commands.output import result, say, settings_of
from commands.queue import HELP
from commands.task import task


@task
def up(c: Any) -> None:
    """Run the private registry on this machine; does nothing when it answers already."""
    from cluster import building

    result(building.registry_up(settings_of(c.config), say))


@task(name="list", help={"json": "print JSON"})
def list_(c: Any, json: bool = False) -> None:
    """List the images in the registry: names, tags, digests, sizes."""
    from cluster import listing

    result(listing.images(settings_of(c.config), as_json=json))


@task(help={"tail": HELP["tail"], "follow": HELP["follow"]})
def logs(c: Any, tail: int = 100, follow: bool = False) -> None:
    """Print what the registry of this machine printed."""
    from cluster import running

    for line in running.logs(settings_of(c.config), "/registry", tail, follow):
        result(line)


@task
def stop(c: Any) -> None:
    """Stop the private registry of this machine; its images stay on its volume."""
    from cluster import running

    running.stop(settings_of(c.config), "/registry", True, say)
