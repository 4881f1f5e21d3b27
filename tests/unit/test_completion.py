"""A TAB in real shells, on real terminals, with a program in the place of `inv` that prints what it is given."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tasks
from commands import completion
from scripts.errors import ClusterError
from tests.refusing import refusal

SHELLS = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"], "fish": ["--no-config", "-i"]}
DEADLINE_S = 60.0

Typed = Callable[[str], str]


class Terminal:
    """A shell at a terminal."""

    def __init__(self, shell: str, folder: Path) -> None:
        self._end, far = pty.openpty()
        env = {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(folder), "TERM": "dumb"}
        self._shell = subprocess.Popen(
            ["setsid", "--ctty", shell, *SHELLS[shell]], cwd=folder, env=env, stdin=far, stdout=far, stderr=far
        )
        os.close(far)
        self._shown = ""

    def type(self, keys: str, awaited: str) -> re.Match[str]:
        """Press keys, and wait for what the shell shows."""
        self._shown = ""
        os.write(self._end, keys.encode())
        deadline = time.monotonic() + DEADLINE_S
        while not (found := re.search(awaited, self._shown)):
            assert time.monotonic() < deadline, self._shown
            if select.select([self._end], [], [], 0.1)[0]:
                self._shown += os.read(self._end, 65536).decode(errors="replace")
        return found

    def close(self) -> None:
        self._shell.kill()
        self._shell.wait()
        os.close(self._end)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of our folder, as far as the scripts look at it."""
    (tmp_path / "inv").write_text("#!/bin/sh\nprintf 'given %s;' \"$*\"\necho\n")
    (tmp_path / "inv").chmod(0o755)
    (tmp_path / "commands").mkdir()
    for shell in SHELLS:
        (tmp_path / f"commands/completion.{shell}").touch()
        (tmp_path / f"script.{shell}").write_text(completion.script(shell, tasks.namespace) + "\n")
    (tmp_path / "items.txt").touch()
    return tmp_path


@pytest.fixture(params=[pytest.param(shell, marks=pytest.mark.program(shell)) for shell in SHELLS])
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def typed(folder: Path, shell: str) -> Iterator[Typed]:
    """The words that `inv` is given where these keys are pressed at the shell with its script."""
    terminal = Terminal(shell, folder)
    terminal.type(f". ./script.{shell}; echo rea''dy\r", "ready")

    def words(keys: str) -> str:
        return terminal.type(f"{keys}\r", "given ([^;]*);")[1]

    yield words
    terminal.close()


def test_a_tab_completes_commands_flags_and_values(typed: Typed) -> None:
    """One terminal for all: each takes a second to start."""
    for keys, words in {
        "./inv worker.ro\t": "worker.rollback",
        "inv publish --fi\ts\t'*.csv'": "publish --files *.csv",
        "./inv publish --bo\tx --js\t": "publish --body x --json",
        "./inv publish -q status --create --js\t": "publish -q status --create --json",
        "./inv publish --file it\t": "publish --file items.txt",
        "./inv publish --file=it\t": "publish --file=items.txt",
        "./inv status --at pro\t": "status --at process",
        "./inv status --at=lo\t": "status --at=local",
        "./inv map --action word\t": "map --action wordcount.sh",
        "./inv completion z\t": "completion zsh",
        "./inv --help queue.b\t": "--help queue.build",
        "./inv queue.build worker.bu\t": "queue.build worker.build",
    }.items():
        assert typed(keys).rstrip() == words


def test_a_tab_completes_nothing_for_a_program_of_that_name_from_elsewhere(typed: Typed, folder: Path) -> None:
    (folder / "other").mkdir()
    (folder / "other/inv").write_text((folder / "inv").read_text())
    (folder / "other/inv").chmod(0o755)
    assert typed("other/inv worker.ro\t").rstrip() == "worker.ro"


def test_commands_that_have_changed_since_are_read_anew(typed: Typed, shell: str) -> None:
    stamp = "__inv_stamp" if shell == "fish" else "_inv_stamp"
    forget = f"set -g {stamp} 1" if shell == "fish" else f"{stamp}=1"
    empty = "set -g __inv_table" if shell == "fish" else "_inv_table=''; unset _inv_flags _inv_values"
    typed(f"{empty}; ./inv")
    assert typed("./inv worker.ro\t").rstrip() == "worker.ro"
    typed(f"{forget}; ./inv")
    assert typed("./inv worker.ro\t").rstrip() == "worker.rollback"


def test_a_shell_that_is_not_known_is_named() -> None:
    task = completion.of(tasks.namespace)
    assert "'tcsh'" in refusal(task.body.__wrapped__, None, "tcsh", by=ClusterError)


@pytest.mark.parametrize("words", [["completion", "bash"], ["completion", "--shell", "bash"]])
def test_the_script_is_printed(words: list[str]) -> None:
    done = subprocess.run([completion._ROOT / "inv", *words], capture_output=True, text=True, check=True)
    assert done.stdout == completion.script("bash", tasks.namespace) + "\n"


@pytest.mark.program("shellcheck")
def test_the_script_for_bash_is_clean() -> None:
    subprocess.run(["shellcheck", "-s", "bash", completion._ROOT / "commands/completion.bash"], check=True)
