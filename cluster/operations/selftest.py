"""`inv test`: the checks of style and types and the tests, with the services they need."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import psutil

from cluster import engine
from cluster.components import Component
from cluster.image_ref import ImageRef
from cluster.settings import ROOT, Settings
from scripts.errors import ClusterError, ServiceAway

Say = Callable[[str], None]

# Most tests wait for a broker or a container most of their time.
_SIDE_BY_SIDE = ["--numprocesses", "3", "--dist", "loadgroup"]
_UNITS = ["pytest", "-q", "tests/unit", *_SIDE_BY_SIDE]
_WITH_SERVICES = [f"tests/{folder}" for folder in ("contract", "integration", "e2e", "soak")]
_FAILED, _NO_TEST = 1, 5  # pytest's exit codes

_TEST_S = 600  # the limit for one test, as pyproject.toml has it
LIMIT_S = 75 * 60  # on two cores all of it takes half an hour; what takes this long hangs
_LAST_WORDS_S = 60  # for pytest to say what it was doing

MOST_UNSTABLE = 3  # more tests that pass at the second try only are no chance
# Kept after the run, if there are any: the unstable tests, with what they failed with at first.
UNSTABLE = ROOT / ".run" / "unstable-tests.txt"

CHECKS = (
    ("style", ["ruff", "check", "."]),
    ("layout", ["ruff", "format", "--check", "."]),
    ("types", ["mypy"]),
)


def run(settings: Settings, *, unit: bool, only: str, failed: bool, soak_s: int, seed: int, say: Say) -> None:
    """Run the checks and the tests; those with services get a second try.

    `unit` runs the unit tests alone, which need no service. `only` (by their names) and `failed` (last time) choose
    tests, which run once and without the checks. `soak_s` and `seed` are the soak's; 0 is its own default.

    Raises:
        ClusterError: a check or a test failed, or all of it took too long.
    """
    phases = Phases(LIMIT_S + soak_s, say)
    chosen = [*(["-k", only] if only else []), *(["--last-failed", "--last-failed-no-failures=none"] if failed else [])]
    if unit:
        phases.run("unit tests", [*_UNITS, *chosen])
        return
    soak = ["--soak", str(soak_s), "--timeout", str(_TEST_S + soak_s)] if soak_s else []
    soak += ["--seed", str(seed)] if seed else []
    if chosen:
        _ready_services(settings, say)
        phases.run("tests", ["pytest", *chosen, *soak])
        return
    for name, command in CHECKS:
        phases.run(name, command)
    with phases.timed("services"):
        _ready_services(settings, say)
    phases.run("unit tests", _UNITS)
    try_twice(phases, [*_WITH_SERVICES, "--durations=15", *_SIDE_BY_SIDE], soak, UNSTABLE, say)
    phases.tell()


class Phases:
    """Programs that run one after the other within one time limit, each with the time that it took."""

    def __init__(self, limit_s: float, say: Say) -> None:
        self._limit_s, self._say = limit_s, say
        self._end = time.monotonic() + limit_s
        self._took_s: dict[str, float] = {}

    def run(self, name: str, command: Sequence[str]) -> None:
        """Run a Python module with its arguments.

        Raises:
            ClusterError: it failed, or it was ended because the time is over.
        """
        if self.exit_code(name, command):
            raise ClusterError(f"{name} failed: see above")

    def exit_code(self, name: str, command: Sequence[str]) -> int:
        """Run a Python module with its arguments and return its exit code.

        Raises:
            ClusterError: no test was selected; it was ended because the time is over.
        """
        self._say(f"{name}: {' '.join(command)}")
        # Without variables for other Pythons, which would lead the tests, and what they start, to other modules.
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        # In a session of its own a Ctrl-C reaches it once, from here.
        process = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, env=variables, start_new_session=True)
        try:
            with self.timed(name):
                code = process.wait(max(0.0, self._end - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise ClusterError(
                f"{name}: ended, since all of it has taken {self._limit_s / 60:.0f} minutes: what was still running "
                "stands above"
            ) from None
        finally:
            _end(process)
        if code == _NO_TEST:
            raise ClusterError(f"{name}: no test was selected: --only takes a word of their names")
        return code

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Note how long this takes."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._took_s[name] = time.monotonic() - began

    def tell(self) -> None:
        """Say how long each phase took."""
        self._say("times: " + ", ".join(f"{name} {seconds:.0f} s" for name, seconds in self._took_s.items()))


def try_twice(phases: Phases, first: Sequence[str], both: Sequence[str], unstable: Path, say: Say) -> None:
    """Run tests; those that fail run once more, alone and in order, and are good when they pass then.

    pytest gets the arguments `first` at the first try, `both` at both. Tests that pass at the second one are said, and
    written to the file `unstable`.

    Raises:
        ClusterError: a test failed twice, or more than MOST_UNSTABLE failed at first.
    """
    unstable.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "failures.json"
        code = phases.exit_code("tests", ["pytest", "-p", "tests.reporting", "--failures", str(report), *first, *both])
        failures = json.loads(report.read_text()) if report.exists() else {}
    if code == 0:
        return
    if code != _FAILED or not failures:
        raise ClusterError("tests failed: see above")
    if len(failures) > MOST_UNSTABLE:
        raise ClusterError(f"tests failed: {len(failures)}; up to {MOST_UNSTABLE} would have got a second try")
    again = phases.exit_code("second try", ["pytest", "-p", "tests.reporting", *both, *failures])
    if again:
        raise ClusterError(f"tests failed twice, of {len(failures)} that failed at first: see above")
    lines = [f"unstable: {name} (first failure: {reason})" for name, reason in failures.items()]
    unstable.parent.mkdir(exist_ok=True)
    unstable.write_text("".join(f"{line}\n" for line in lines))
    for line in [*lines, f"they passed at the second try, and are kept in {unstable}"]:
        say(line)


def image(component: Component) -> ImageRef:
    """Return the name of a component's image for tests: one a checkout, so that two can be tested at the same time."""
    return ImageRef(f"cluster-test-{component.name}", hashlib.sha256(os.fsencode(ROOT)).hexdigest()[:8])


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it as Ctrl-C does, so that it says what it was doing; then what is left, with all that it started."""
    if process.poll() is not None:
        return
    started = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_LAST_WORDS_S)
    except subprocess.TimeoutExpired:
        process.kill()
    for one in started:
        if one.is_running():
            one.kill()
    process.wait()


def _ready_services(settings: Settings, say: Say) -> None:
    """Provide an engine and its images, built once for all tests; these say themselves what they miss."""
    from cluster import components
    from cluster.images import base_image
    from cluster.images import build as image_build
    from cluster.schedulers import selection

    try:
        if not selection.provide(settings, say).has_images:
            return
    except ServiceAway as error:
        say(str(error))
        return
    with closing(engine.connect()) as client:
        base_image.ensure_base(client, say)
        for component in components.ALL:
            image_build.build(client, component, image(component), say)
