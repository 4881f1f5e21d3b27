"""`inv test`: the checks of style and types and the tests, with the services they need."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing

from cluster import engine
from cluster.components import Component
from cluster.image_ref import ImageRef
from cluster.settings import ROOT
from scripts.errors import ClusterError, ServiceAway

Say = Callable[[str], None]

# Most tests wait for a broker or a container most of their time.
_PROCESSES = 3
_NO_TEST = 5  # pytest's exit code

CHECKS = (
    ("style", ["ruff", "check", "."]),
    ("layout", ["ruff", "format", "--check", "."]),
    ("types", ["mypy"]),
)


def run(*, unit: bool, only: str, soak_s: int, seed: int, say: Say) -> None:
    """Run the checks and the tests; with `unit` those that need no service.

    The soak lasts `soak_s` and breaks what `seed` says; 0: its own default, and a new seed.

    Raises:
        ClusterError: a check or a test failed.
    """
    chosen = ["-k", only] if only else []
    if unit:
        _run("unit tests", ["pytest", "-q", "tests/unit", *chosen], say)
        return
    for name, command in CHECKS:
        _run(name, command, say)
    _ready_services(say)
    chosen += ["--soak", str(soak_s)] if soak_s else []
    chosen += ["--seed", str(seed)] if seed else []
    if not only:
        chosen += ["--numprocesses", str(_PROCESSES), "--dist", "loadgroup"]
    _run("tests", ["pytest", "--durations=15", *chosen], say)


def _run(name: str, command: list[str], say: Say) -> None:
    say(f"{name}: {' '.join(command)}")
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=False)
    if done.returncode == _NO_TEST:
        raise ClusterError(f"{name}: no test was selected: --only takes a word of their names")
    if done.returncode:
        raise ClusterError(f"{name} failed: see above")


def _ready_services(say: Say) -> None:
    """Start an engine, or without one see that RabbitMQ is there; tests say themselves what they miss."""
    if os.environ.get("INVOKE_SCHEDULER") != "process":
        try:
            engine.ensure(say)
            _build_images(say)
            return
        except ServiceAway as error:
            say(f"{error}\nso the tests run that need no engine")
    from cluster import rabbitmq_process

    try:
        rabbitmq_process.ensure_installed(say)
    except ClusterError as error:
        say(str(error))


def _build_images(say: Say) -> None:
    """Once for all: tests that run side by side would each build what is not cached."""
    from cluster import base_image, components, images

    with closing(engine.connect()) as client:
        base_image.ensure_base(client, say)
        for component in components.ALL:
            images.build(client, component, image(component), say)


def image(component: Component) -> ImageRef:
    """Return the name of a component's image for tests: one a checkout, so that two can be tested at the same time."""
    return ImageRef(f"cluster-test-{component.name}", hashlib.sha256(os.fsencode(ROOT)).hexdigest()[:8])
