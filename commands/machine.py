"""The commands for the whole machine: the demo, the state of all, stopping it all, the tests."""

from __future__ import annotations

from typing import Any

from commands.map import WHERE
from commands.output import redrawn, result, say, settings_of, width
from commands.task import task


@task(help={"process": "run without containers although a Docker Engine is there"})
def demo(c: Any, process: bool = False) -> None:
    """Work through an example on this machine, from nothing; it is `inv map` with a year of temperatures."""
    from cluster.operations import demo as showing

    result(showing.run(settings_of(c.config), process=process, say=say))


@task(help={"watch": "look again every two seconds, until Ctrl-C", "json": "print JSON"} | WHERE)
def status(c: Any, watch: bool = False, at: str = "", marathon: str = "", url: str = "", json: bool = False) -> None:
    """Show what runs, on this machine or on a cluster, how many messages are where, and what the workers do."""
    from cluster.operations import status as listing

    view = listing.View(settings_of(c.config), at=at, marathon=marathon, url=url, width=width(), as_json=json, say=say)
    if watch:
        redrawn(view.again_and_again())
    else:
        result(view.once())


@task(
    help={
        "data": "delete the volumes too: the queues' messages, and the images in the registry",
        "now": "do not wait for running actions",
        "at": "where: ENGINE[:ADDRESS], such as marathon:10.0.0.10:8080 (default: this machine)",
        "marathon": "Marathon, HOST:PORT[,HOST:PORT]; short for --at marathon:HOST:PORT",
    }
)
def down(c: Any, data: bool = False, now: bool = False, at: str = "", marathon: str = "") -> None:
    """Stop what was started here, or on a cluster; the messages, and the registry's images, stay unless --data."""
    from cluster.operations.down import down as stop_all

    stop_all(settings_of(c.config), data=data, now=now, at=at, marathon=marathon, say=say)


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
