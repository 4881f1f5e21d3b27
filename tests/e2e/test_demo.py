"""The demo, again and again: later runs find everything there, whatever ended the one before."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.settings import ROOT
from tests.e2e.conftest import CommandLine
from tests.waiting import until


def output(inv: CommandLine) -> Path:
    return ROOT / ".run" / f"demo-{inv.settings.project}.csv"


@pytest.fixture(scope="module", autouse=True)
def nothing_left(inv: CommandLine) -> Iterator[None]:
    yield
    for path in (output(inv), output(inv).with_suffix(".csv.run")):
        path.unlink(missing_ok=True)


def demo(inv: CommandLine) -> str:
    """Run it; return what it said on its way."""
    done = inv.try_("demo")
    assert done.returncode == 0, done.stderr
    assert "93 of 365 days had frost" in done.stdout
    assert "2025-01-26 with -12.8 " in done.stdout
    assert "./inv map" in done.stdout
    assert len(output(inv).read_text().splitlines()) == 366
    return done.stderr


def test_the_demo_sums_up_a_year(inv: CommandLine) -> None:
    started = "starting 1 worker of 'demo'"
    assert started in demo(inv)
    assert "/worker-demo" in inv("status")
    again = demo(inv)
    assert started not in again
    assert str(output(inv)) in again


def test_an_interrupted_demo_begins_anew(inv: CommandLine) -> None:
    def has_some() -> bool:
        return output(inv).exists() and 1 < len(output(inv).read_text().splitlines()) < 366

    going = inv.start("demo")
    until(has_some, "the first results")
    going.send_signal(signal.SIGINT)
    _, said = going.communicate(timeout=60)
    assert going.returncode == 130
    assert "./inv demo" in said.splitlines()[-1]
    demo(inv)


def test_a_file_that_no_demo_wrote_stays(inv: CommandLine) -> None:
    output(inv).write_text("mine\n")
    refused = inv.try_("demo")
    assert refused.returncode == 1
    assert str(output(inv)) in refused.stderr.splitlines()[-1]
    assert output(inv).read_text() == "mine\n"
    output(inv).unlink()
    demo(inv)


def test_all_of_it_stops(inv: CommandLine) -> None:
    inv("down")
    assert "nothing runs here" in inv("status")
