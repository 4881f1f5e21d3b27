"""Which commit files come from."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

TIMEOUT_S = 30


def revision_of(folders: Sequence[Path], repo: Path) -> str:
    """The last commit that changed anything in the folders, with -dirty where files differ from it.

    Commits elsewhere do not change it, so that an image is the same again as long as its files are. Empty without a
    commit: a copy of the files, or no git.
    """
    commit = _git(repo, "log", "-1", "--format=%H", "--", *folders)
    changed = _git(repo, "status", "--porcelain", "--", *folders)
    return f"{commit}-dirty" if commit and changed else commit


def _git(repo: Path, *arguments: str | Path) -> str:
    command = ["git", "-C", str(repo), *map(str, arguments)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=True, timeout=TIMEOUT_S)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
