"""The command line as a person types it, under a project and ports of the tests' own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import engine
from cluster.settings import ROOT, Settings
from scripts.errors import ClusterError
from tests.conftest import missing, own_settings


class CommandLine:
    """Runs `inv` with settings of its own; every call has a deadline."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        queue = settings.queue
        self.environ = os.environ | {
            "INVOKE_PROJECT": settings.project,
            "INVOKE_SCHEDULER": settings.scheduler,
            "INVOKE_REGISTRY": settings.registry,
            "INVOKE_QUEUE_PORT": str(queue.port),
            "INVOKE_QUEUE_MANAGEMENT_PORT": str(queue.management_port),
            "INVOKE_QUEUE_PROMETHEUS_PORT": str(queue.prometheus_port),
            "INVOKE_WORKER_TMP": settings.worker.tmp,
        }

    def try_(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run it and look at what comes."""
        return subprocess.run(
            [sys.executable, "-m", "invoke", *arguments], cwd=ROOT, env=self.environ, input=stdin,
            capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start it and let it run."""
        return subprocess.Popen(
            [sys.executable, "-m", "invoke", *arguments], cwd=ROOT, env=self.environ,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        """Run it; it must succeed. What it printed on STDOUT."""
        done = self.try_(*arguments, stdin=stdin)
        assert done.returncode == 0, f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module", params=["local", "process"])
def inv(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """`inv` on this machine, with containers and without."""
    if request.param == "local":
        try:
            engine.connect().close()
        except ClusterError as error:
            missing(str(error))
    tmp: Path = tmp_path_factory.mktemp("e2e")
    tmp.chmod(0o1777)
    tmp.parent.chmod(0o755)
    line = CommandLine(own_settings(tmp, request.param))
    yield line
    line("down", "--data", "--now")
