"""The demo's results have a folder of their own, whoever ran a demo before."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.demo import alone, results_folder
from scripts.errors import ClusterError


def test_results_of_earlier_runs_are_deleted_and_nothing_else(tmp_path: Path) -> None:
    usual = tmp_path / "cluster-demo"
    assert results_folder(usual) == usual
    usual.mkdir()
    (usual / "2025-01-01.json").touch()
    assert results_folder(usual) == usual
    assert not usual.exists()
    usual.mkdir()
    (usual / "notes.txt").touch()
    assert results_folder(usual) == usual
    assert [path.name for path in usual.iterdir()] == ["notes.txt"]


@pytest.fixture
def someone() -> Iterator[None]:
    """Another user than root, who can see the current folder alone."""
    os.seteuid(12345)
    yield
    os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be someone else")
@pytest.mark.parametrize("results", [["2025-01-01.json"], []], ids=["with results", "empty"])
def test_the_folder_of_someone_else_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, results: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o1777)  # as /tmp is
    usual = Path("cluster-demo")
    usual.mkdir()
    for name in results:
        (usual / name).touch()
    request.getfixturevalue("someone")
    assert results_folder(usual) == Path("cluster-demo-12345")
    assert [path.name for path in usual.iterdir()] == results


def test_a_second_demo_at_the_same_time_is_refused(tmp_path: Path) -> None:
    lock = tmp_path / ".run/demo-cluster.lock"
    with alone(lock), pytest.raises(ClusterError, match=r"^another \./inv demo runs here"), alone(lock):
        pytest.fail("two at once")
    with alone(lock), alone(tmp_path / ".run/demo-other.lock"):
        pass
    with alone(tmp_path / "no/such/folder/lock"):
        pass
