"""The job log, as far as it needs no broker (its lines: tests/integration/test_worker_batches.py)."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

from scripts.joblog import COLUMNS, JobLog


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
