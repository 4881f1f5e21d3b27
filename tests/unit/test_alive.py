"""The worker's alive file: made, removed, and what has its name left alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from scripts.event_loop import EventLoop
from scripts.worker.alive import AliveFile


def live(path: Path) -> None:
    """A worker's life: it starts, consumes, stops."""
    with closing(EventLoop()) as loop:
        file = AliveFile(loop, str(path))
        file.not_consuming()
        file.consuming()
        file.not_consuming()


def test_it_is_there_while_the_worker_consumes(tmp_path: Path) -> None:
    path = tmp_path / "alive"
    path.touch()  # of a worker that was killed
    os.utime(path, (0, 0))
    with closing(EventLoop()) as loop:
        file = AliveFile(loop, str(path))
        file.not_consuming()
        assert not path.exists()
        file.consuming()
        assert stat.S_IMODE(path.stat().st_mode) & 0o444 == 0o444
        os.utime(path, (0, 0))
        file.consuming()
        assert path.stat().st_mtime > 0
        file.not_consuming()
        assert not path.exists()


def _someone_elses(path: Path) -> None:
    path.touch()
    os.chown(path, 12345, 12345)


@pytest.mark.parametrize(
    "make",
    [
        Path.mkdir,
        os.mkfifo,
        lambda path: path.write_text("no worker's"),
        lambda path: path.symlink_to("other"),
        pytest.param(lambda path: os.mknod(path, stat.S_IFCHR, os.makedev(1, 3)), id="device"),
        pytest.param(_someone_elses, id="someone else's"),
    ],
)
def test_what_is_not_the_workers_is_left_alone(
    make: Callable[[Path], object], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "alive"
    (tmp_path / "other").touch()
    try:
        make(path)
    except PermissionError:
        pytest.skip("only root can make it")
    before = path.lstat()
    live(path)
    assert path.lstat() == before
    assert (tmp_path / "other").exists()
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert f"CLUSTER_WORKER_ALIVE_FILE: {path}: what is there is not the worker's" in said


@pytest.mark.parametrize("place", ["missing/alive", "file/alive", "/proc/alive", "x" * 300])
def test_where_it_cannot_be_the_worker_goes_on_with_one_line(
    place: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    live(tmp_path / place)
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert f"{tmp_path / place}: " in said
    assert "going on without it" in said
