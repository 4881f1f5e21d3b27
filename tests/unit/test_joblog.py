"""The job log, as far as it needs no broker (its lines: tests/integration/test_worker_batches.py)."""

from __future__ import annotations

import fcntl
import os
import resource
import threading
from pathlib import Path

import pika
import pytest

from scripts.action.jobs import Outcome
from scripts.worker.deliveries import Run
from scripts.worker.joblog import COLUMNS, JobLog


def test_workers_that_start_at_the_same_time_write_the_columns_names_once(tmp_path: Path) -> None:
    path = tmp_path / "log.tsv"
    other = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    fcntl.flock(other, fcntl.LOCK_EX)
    worker = threading.Thread(target=JobLog, args=(str(path), ["cat"], "myqueue"))
    worker.start()
    worker.join(0.3)
    assert worker.is_alive()
    os.write(other, b"the other's line\n")
    os.close(other)
    worker.join()
    assert path.read_text() == "the other's line\n"


def test_the_first_worker_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "log.tsv"
    JobLog(str(path), ["cat"], "myqueue")
    assert path.read_text().split() == list(COLUMNS)


def test_after_a_full_disk_whole_lines_follow(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A limit on the size of files stands for a full disk: it too lets a part of a line through first."""
    path = tmp_path / "log.tsv"
    path.write_text("x" * 10_000 + "\n")
    log = JobLog(str(path), ["cat"], "myqueue")
    run = Run(None, 1, False, "myqueue", pika.BasicProperties(), b"x")  # type: ignore[arg-type]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, before[1]))
    try:
        for _ in range(3):
            log.ran(run, Outcome("done"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    log.ran(run, Outcome("done"))
    log.ran(run, Outcome("done"))
    _, torn, *whole = path.read_text().splitlines()
    assert len(torn) == 20
    assert [line.split("\t")[0] for line in whole] == ["4", "5"]
    assert capfd.readouterr().err.count("lines will be missing") == 1
