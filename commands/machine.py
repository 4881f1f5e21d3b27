"""The commands for the whole machine: the demo, the state of all, stopping it all, the tests."""

from __future__ import annotations

from typing import Any

from commands import apps
from commands.output import result, say, settings_of
from commands.task import task


@task(help={"process": "run without containers although a Docker Engine is there"})
def demo(c: Any, process: bool = False) -> None:
    """Work through a year of temperatures on this machine, from nothing, as `inv map` does."""
    from cluster.operations import demo as showing

    result(showing.run(settings_of(c.config), process=process, say=say))


@task(help={"json": "print JSON"} | {flag: apps.FLAGS[flag][1] for flag in apps.WHERE})
def status(c: Any, at: str = "", marathon: str = "", json: bool = False) -> None:
    """Show what runs, on this machine or on a cluster, and how many messages are where."""
    from cluster.operations import status as listing

    result(listing.status(settings_of(c.config), as_json=json, at=at, marathon=marathon, say=say))


@task(
    help={
        "data": "delete the volumes too: the queues' messages, and the images in the registry",
        "now": "do not wait for running actions",
    }
)
def down(c: Any, data: bool = False, now: bool = False) -> None:
    """Stop what was started here; the messages, and the images in the registry, stay unless --data."""
    from cluster.operations.down import down as stop_all

    stop_all(settings_of(c.config), data=data, now=now, say=say)


@task(
    name="test",
    help={
        "unit": "only the unit tests: seconds, no services",
        "only": "only tests whose names match, without the checks of style and types",
        "failed": "only the tests that failed last time, without the checks",
        "soak": "how many seconds everything is broken at random while messages are worked on",
        "seed": "what is broken when: the seed of an earlier soak",
    },
)
def run_tests(c: Any, unit: bool = False, only: str = "", failed: bool = False, soak: int = 0, seed: int = 0) -> None:
    """Run the tests: style, types, units, and everything against the real broker, engine and registry."""
    from cluster.operations import selftest

    selftest.run(settings_of(c.config), unit=unit, only=only, failed=failed, soak_s=soak, seed=seed, say=say)
