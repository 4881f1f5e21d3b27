"""The revision of files, in a real git repository."""

import subprocess
from pathlib import Path

import pytest

from cluster.images.build import revision_of


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    git(tmp_path, "init", "-q")
    return tmp_path


def git(repo: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", repo, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(repo: Path, name: str, text: str) -> str:
    path = repo / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    git(repo, "add", name)
    git(repo, "commit", "-q", "-m", "a change")
    return git(repo, "rev-parse", "HEAD")


def test_it_is_the_commit_that_changed_the_folder_last(repo: Path) -> None:
    first = commit(repo, "one/file", "1")
    second = commit(repo, "two/file", "2")
    assert revision_of([repo / "one"], repo) == first
    assert revision_of([repo / "one", repo / "two"], repo) == second


@pytest.mark.parametrize("name", ["one/file", "one/new"])
def test_files_that_differ_from_it_are_told(repo: Path, name: str) -> None:
    known = commit(repo, "one/file", "1")
    (repo / "elsewhere").write_text("2")
    assert revision_of([repo / "one"], repo) == known
    (repo / name).write_text("2")
    assert revision_of([repo / "one"], repo) == f"{known}-dirty"


def test_without_a_commit_there_is_none(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    commit(repo, "one/file", "1")
    assert revision_of([repo / "never"], repo) == ""
    outside = tmp_path_factory.mktemp("outside")
    assert revision_of([outside], outside) == ""
