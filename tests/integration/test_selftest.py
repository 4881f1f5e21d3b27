"""`inv test` itself: the second try, and the limit for all of it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from cluster.operations import selftest
from cluster.settings import ROOT
from scripts.errors import ClusterError
from tests.waiting import until

GOOD = "def test_good():\n    pass\n"
BAD = "def test_bad():\n    assert 1 == 2\n"
# Fails the first time alone.
UNSTABLE = """
from pathlib import Path

def test_{name}(tmp_path_factory):
    mark = Path(__file__).with_suffix(".{name}")
    was_there = mark.exists()
    mark.touch()
    assert was_there, "not \\x1b yet"
"""
# The same in a group, as tests/conftest.py makes them, with a parameter that looks like one.
GROUPED = """
import pytest
from pathlib import Path

@pytest.mark.xdist_group("tests/unit/test_some.py")
@pytest.mark.parametrize("given", ["a@b"])
def test_grouped(given):
    mark = Path(__file__).with_suffix(".grouped")
    was_there = mark.exists()
    mark.touch()
    assert was_there
"""
HANGS = """
import time
from pathlib import Path

def test_hangs():
    Path(__file__).with_suffix(".hangs").touch()
    time.sleep(3600)
"""


class Trial:
    """Tests of a test, run as `inv test` runs those with services."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "test_trial.py"
        self.kept = folder / "kept" / "unstable.txt"
        self.said: list[str] = []

    def run(self, *tests: str, processes: int = 0) -> None:
        self.file.write_text("\n".join(tests))
        first = ["-n", str(processes), "--dist", "loadgroup", str(self.file)]
        both = ["-p", "no:cacheprovider"]
        selftest.try_twice(selftest.Phases(300, self.said.append), first, both, self.kept, self.said.append)


@pytest.fixture
def trial() -> Iterator[Trial]:
    """In the checkout, by whose folder pytest names tests."""
    selftest.UNSTABLE.parent.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=selftest.UNSTABLE.parent) as folder:
        yield Trial(Path(folder))


def test_what_passes_at_the_second_try_is_named_and_kept(trial: Trial) -> None:
    trial.run(GOOD, UNSTABLE.format(name="shaky"), processes=2)
    (line,) = trial.kept.read_text().splitlines()
    assert line.startswith("unstable: ")
    assert "test_shaky" in line
    assert "first failure: AssertionError: not" in line
    assert line in trial.said
    trial.run(GOOD)
    assert not trial.kept.exists()


def test_what_is_in_a_group_gets_its_second_try(trial: Trial) -> None:
    trial.run(GOOD, GROUPED, processes=2)
    (line,) = trial.kept.read_text().splitlines()
    assert "::test_grouped[a@b] (" in line


def test_what_fails_twice_fails(trial: Trial) -> None:
    with pytest.raises(ClusterError, match="failed twice"):
        trial.run(GOOD, BAD, UNSTABLE.format(name="shaky"))
    assert not trial.kept.exists()


def test_too_many_get_no_second_try(trial: Trial) -> None:
    with pytest.raises(ClusterError, match="4"):
        trial.run(*(UNSTABLE.format(name=f"shaky_{number}") for number in range(4)))
    assert len(trial.said) == 1


def test_all_of_it_has_a_limit() -> None:
    with pytest.raises(ClusterError, match=r"^server: ended"):
        selftest.Phases(0.1, print).run("server", ["http.server", "0", "--bind", "127.0.0.1"])


def test_what_is_ended_names_what_was_running(trial: Trial) -> None:
    trial.file.write_text(HANGS)
    command = [sys.executable, "-m", "pytest", "-p", "tests.reporting", "-n", "1", str(trial.file)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as run:
        until(lambda: trial.file.with_suffix(".hangs").exists())
        run.send_signal(signal.SIGINT)
        printed, _ = run.communicate(timeout=120)
    assert "::test_hangs" in next(line for line in printed.splitlines() if line.startswith("still running: "))


def test_variables_for_other_pythons_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    selftest.Phases(300, print).run("tool", ["json.tool", "--help"])
