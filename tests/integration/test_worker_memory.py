"""An action that runs out of its control group's memory; and the worker's own memory."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.integration.worker_rig import Rig
from tests.processes import memory_mib
from tests.waiting import until

pytestmark = pytest.mark.broker

_LIMIT = 100 * 1024 * 1024


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group with a memory limit, which a process may join."""
    name = f"cluster-test-{secrets.token_hex(4)}"
    legacy = Path("/sys/fs/cgroup/memory")
    folder = legacy / name if legacy.is_dir() else Path("/sys/fs/cgroup") / name
    try:
        folder.mkdir()
        limit = folder / "memory.limit_in_bytes" if legacy.is_dir() else folder / "memory.max"
        limit.write_text(str(_LIMIT))
    except OSError as error:
        if folder.is_dir():
            folder.rmdir()
        missing(f"no control group can be made here: {error}")
    yield folder
    until(lambda: not (folder / "cgroup.procs").read_text(), "the control group is empty")
    folder.rmdir()


def test_an_action_that_runs_out_of_memory_is_named_as_such(rig: Rig, group: Path) -> None:
    greedy = rig.python_action("[bytearray(1 << 20) for _ in range(1000)]")
    worker = rig.worker("--attempts", "1", rig.action(f"cat >/dev/null; exec {greedy}", "first"), consuming=False)
    (group / "cgroup.procs").write_text(str(worker.process.pid))
    worker.says("consuming from")
    rig.publish(b"x")
    (message,) = rig.take_failed()
    assert message.headers["x-cluster-reason"] == "out of memory: killed by the kernel"
    assert message.headers["x-cluster-exit"] == 128 + 9
    assert worker.stop() == 0


def test_a_plain_kill_is_not_out_of_memory(rig: Rig) -> None:
    rig.worker("--attempts", "1", rig.action("kill -9 $$"))
    rig.publish(b"x")
    assert rig.take_failed()[0].headers["x-cluster-reason"] == "killed by SIGKILL"


def test_the_worker_needs_less_than_45_mb_and_no_more_after_thousands_of_messages(rig: Rig) -> None:
    worker = rig.worker("-j", "4", "--prefetch", "50", "/bin/true")
    idle = memory_mib(worker.process.pid)
    rig.publish(*[os.urandom(100)] * 500)
    until(lambda: rig.ready() == 0, "the first ones are done")
    early = memory_mib(worker.process.pid)
    rig.publish(*[os.urandom(100)] * 3000)
    until(lambda: rig.ready() == 0, "all are done", timeout_s=120)
    assert idle < 45
    assert memory_mib(worker.process.pid) < early + 2
