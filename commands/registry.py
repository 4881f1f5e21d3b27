"""The private registry: of this machine, or of a host of the cluster."""

from __future__ import annotations

from typing import Any

from commands.apps import FLAGS
from commands.output import result, results, say, settings_of
from commands.task import task

HELP = {key: FLAGS[key][1] for key in ("registry", "tail", "follow")} | {
    "host": "the registry's host, as you would say it to ssh (default: this machine)",
    "address": "HOST:PORT at which all reach it on that host (default: registry in invoke.yaml, else its port 5000)",
    "dry_run": "print what would be done, do nothing",
    "json": "print JSON",
}


@task(help={key: HELP[key] for key in ("host", "address", "dry_run")})
def up(c: Any, host: str = "", address: str = "", dry_run: bool = False) -> None:
    """Run the private registry, here or with TLS and a login on a host; changes nothing that is right."""
    from cluster.operations import registry as registries

    result(registries.up(settings_of(c.config), host, address, dry_run=dry_run, say=say))


@task(help={key: HELP[key] for key in ("host", "registry", "json")})
def status(c: Any, host: str = "", registry: str = "", json: bool = False) -> None:
    """Show whether the registry answers and lets us in, its certificate's end, and the room on its host."""
    from cluster.operations import registry as registries

    found = registries.status(settings_of(c.config, registry), host, say)
    result(registries.as_json(found) if json else registries.as_text(found))
    registries.refuse_useless(found)


@task(name="list", help={key: HELP[key] for key in ("registry", "json")})
def list_(c: Any, registry: str = "", json: bool = False) -> None:
    """List the images in the registry: names, tags, digests, sizes."""
    from cluster.operations import images

    result(images.listed(settings_of(c.config, registry), as_json=json))


@task(help={key: HELP[key] for key in ("host", "tail", "follow")})
def logs(c: Any, host: str = "", tail: int = 100, follow: bool = False) -> None:
    """Print what the registry printed."""
    from cluster.operations import registry as registries

    results(registries.logs(settings_of(c.config), host, tail, follow, say))


@task(help={"host": HELP["host"]})
def stop(c: Any, host: str = "") -> None:
    """Stop the private registry; its images stay."""
    from cluster.operations import registry as registries

    registries.stop(settings_of(c.config), host, say)
