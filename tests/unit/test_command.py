from __future__ import annotations

from pathlib import Path

import pytest

from scripts.action.command import CommandNotExecutable, CommandNotFound, executable
from scripts.cluster_worker import main
from tests.refusing import refusal


def test_a_command_of_path_becomes_a_path() -> None:
    program, *arguments = executable(["sh", "-c", "true"])
    assert Path(program).is_absolute()
    assert program.endswith("/sh")
    assert arguments == ["-c", "true"]


def test_a_relative_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "script"
    script.touch(0o755)
    monkeypatch.chdir(tmp_path)
    assert executable(["./script"]) == (str(script),)


def test_what_is_not_there() -> None:
    for name in ("/no/such/file", "no-such-command-at-all"):
        assert name in refusal(executable, [name], by=CommandNotFound)
    assert CommandNotFound.exit_code == 127


def test_what_cannot_be_executed(tmp_path: Path) -> None:
    (tmp_path / "file").touch(0o644)
    for path in (tmp_path, tmp_path / "file"):
        assert str(path) in refusal(executable, [str(path)], by=CommandNotExecutable)
    assert CommandNotExecutable.exit_code == 126


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (b"#!/bin/sh\r\ncat\r\n", "Windows line ends"),
        (b"#!/usr/bin/env Rscript\r\n", "Windows line ends"),
        (b"#! /no/such/interpreter -x\n", "/no/such/interpreter"),
        (b"#!/usr/bin/env Rscript3\n", "Rscript3"),
        (b"#!/usr/bin/env Rscript3 \n", "Rscript3"),
        (b"#!/usr/bin/env sh -e\n", "env -S"),
        (b"#!/usr/bin/env -S A=b Rscript3 --vanilla\n", "Rscript3"),
        (b"#!/etc/passwd\n", "/etc/passwd"),
        (b"#!/etc\n", "/etc, "),
        (b"cat(1)\n", "#!/usr/bin/env"),
        (b"echo\r\n", "#!/usr/bin/env"),
    ],
)
def test_a_script_that_nothing_can_run(tmp_path: Path, script: bytes, says: str) -> None:
    path = tmp_path / "script"
    path.write_bytes(script)
    path.chmod(0o755)
    assert says in refusal(executable, [str(path)], by=CommandNotExecutable)


@pytest.mark.parametrize(
    "script",
    [b"#!/bin/sh\n", b"#!\t /bin/sh -e\n", b"#!/bin/sh", b"#!", b"", b"#!/usr/bin/env sh\n",
     b"#!/usr/bin/env -S A=b 'sh' -e\n", b"#!/usr/bin/env -S ${NONE}/sh\n", b"#!/usr/bin/env -S PATH=/none none\n",
     b"#!/usr/bin/env -i\n", b"#!/usr/bin/env A=b\n", b"#!/usr/bin/env -S 'none\n",
     b"#!/usr/bin/env none" + b"x" * 300, b"\x7fELF" + b"\0\xff" * 99],
)  # fmt: skip
def test_scripts_that_can_be_run_and_what_is_no_script(tmp_path: Path, script: bytes) -> None:
    path = tmp_path / "script"
    path.write_bytes(script)
    path.chmod(0o755)
    assert executable([str(path)]) == (str(path),)


def test_the_interpreter_of_an_interpreter(tmp_path: Path) -> None:
    for name, first in (
        ("outer", f"#!{tmp_path}/inner"),
        ("inner", "#!/no/such/interpreter"),
        ("self", f"#!{tmp_path}/self"),
    ):
        (tmp_path / name).write_text(f"{first}\n")
        (tmp_path / name).chmod(0o755)
    assert "/no/such/interpreter" in refusal(executable, [str(tmp_path / "outer")], by=CommandNotExecutable)
    assert executable([str(tmp_path / "self")])


def test_cluster_worker_looks_for_its_command_without_a_queue(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", "-q", "q", "--", "sh", "-c", "exit 1"]) == 0
    assert main(["--check", "-q", "q", "--", "no-such-command-at-all"]) == 127
    assert main(["--check", "-q", "q", "--", "/"]) == 126
    assert capsys.readouterr().err.count("\n") == 2
