"""The demo's results have a folder of their own, whoever ran a demo before."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.operations.demo import report, results_folder
from tests.refusing import refusal


def test_results_of_earlier_runs_are_deleted_and_nothing_else(tmp_path: Path) -> None:
    usual = tmp_path / "cluster-demo"
    assert results_folder(usual, 0o1777) == usual
    assert usual.stat().st_mode & 0o7777 == 0o1777
    for name in ("2025-01-01.json", "notes.txt"):
        (usual / name).touch()
    assert results_folder(usual, 0o755) == usual
    assert usual.stat().st_mode & 0o7777 == 0o755
    assert [path.name for path in usual.iterdir()] == ["notes.txt"]


@pytest.fixture
def someone() -> Iterator[None]:
    """Another user than root, who can see the current folder alone."""
    os.seteuid(12345)
    yield
    os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be someone else")
def test_the_folder_of_someone_else_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o1777)  # as /tmp is
    usual = Path("cluster-demo")
    usual.mkdir()
    (usual / "2025-01-01.json").touch()
    request.getfixturevalue("someone")
    assert results_folder(usual, 0o755) == Path("cluster-demo-12345")
    assert [path.name for path in usual.iterdir()] == ["2025-01-01.json"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_root_takes_no_folder_of_someone_else_over(tmp_path: Path) -> None:
    usual = tmp_path / "cluster-demo"
    usual.mkdir()
    (usual / "2025-01-01.json").touch()
    os.chown(usual, 12345, 12345)
    assert results_folder(usual, 0o755) == tmp_path / "cluster-demo-0"
    assert (usual / "2025-01-01.json").exists()


def test_no_link_is_followed(tmp_path: Path) -> None:
    """Neither to another folder nor to results in another place."""
    others, usual = tmp_path / "others", tmp_path / "cluster-demo"
    others.mkdir()
    (others / "2025-01-01.json").write_text("{}")
    usual.symlink_to(others)
    folder = results_folder(usual, 0o1777)
    assert folder == tmp_path / f"cluster-demo-{os.geteuid()}"
    assert (others / "2025-01-01.json").exists()
    assert others.stat().st_mode & 0o7777 != 0o1777
    (folder / "2025-01-01.json").symlink_to(others / "2025-01-01.json")
    assert len(report(folder)) == 1
    folder.rename(tmp_path / "away")
    folder.symlink_to(others)
    assert f"{usual} and {folder} " in refusal(results_folder, usual, 0o1777)


def test_where_nothing_can_be_made_is_one_line(tmp_path: Path) -> None:
    assert "missing/cluster-demo: " in refusal(results_folder, tmp_path / "missing/cluster-demo", 0o755)


def test_the_days_are_summed_up_by_month(tmp_path: Path) -> None:
    for day, low, frost_hours in (("2025-01-01", -8.0, 5), ("2025-01-02", 2.0, 0), ("2025-12-31", 1.0, 0)):
        content = {"low": low, "mean": 4.0, "high": 6.0, "frost_hours": frost_hours}
        (tmp_path / f"{day}.json").write_text(json.dumps(content))
    assert report(tmp_path)[1:] == ["Jan   -8.0    4.0    6.0    1 #", "Dec    1.0    4.0    6.0    0"]
