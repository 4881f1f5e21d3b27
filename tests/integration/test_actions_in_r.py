"""Actions in R, made with the frame that the examples read: as a person runs them, as a worker, and kept alive."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.settings import ROOT

pytestmark = pytest.mark.program("Rscript")

EXAMPLES = ROOT / "components" / "worker" / "scripts"
(SOURCE,) = (line for line in (EXAMPLES / "myaction.r").read_text().splitlines() if line.startswith("source("))

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a blank in its name that has the frame, and nothing else."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    shutil.copy(EXAMPLES / "cluster_action.r", folder)
    return folder


@pytest.fixture
def run(folder: Path) -> Run:
    """Run an action of this text on a message."""

    def go(text: str, body: bytes = b"", *arguments: str, **env: str) -> subprocess.CompletedProcess[bytes]:
        action = folder / "mine.r"
        action.write_text(f"#!/usr/bin/env Rscript\n{SOURCE}\n{text}\n")
        action.chmod(0o755)
        return subprocess.run(
            [str(action), *arguments], input=body, capture_output=True, check=False, env=os.environ | env
        )

    return go


def kept_alive(folder: Path, text: str, *lines: str) -> list[str]:
    """Return what it prints and answers to these lines, its verdicts among the results."""
    action = folder / "kept.r"
    action.write_text(f"{SOURCE}\nkeep_alive(function(text) {text})\n")
    done = subprocess.run(
        f"Rscript '{action}' 3>&1", shell=True, input="".join(f"{line}\n" for line in lines), text=True,
        capture_output=True, check=True, env=os.environ | {"CLUSTER_KEEP_ALIVE": "1"},
    )  # fmt: skip
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", ["mc.r", "myaction.r", "keepalive.r"])
def test_the_examples_begin_alike_and_are_short(name: str) -> None:
    own = [line for line in (EXAMPLES / name).read_text().splitlines() if line and not line.startswith("#")]
    assert own[0] == SOURCE
    assert len(own) <= 6


@pytest.mark.parametrize("way", ["its whole path", "its folder", "PATH", "Rscript"])
def test_the_frame_is_found_in_the_action_s_own_folder(folder: Path, way: str) -> None:
    shutil.copy(EXAMPLES / "mc.r", folder)
    (folder / "mc.r").chmod(0o755)
    env, where, command = dict(os.environ), Path("/"), [str(folder / "mc.r")]
    if way == "its folder":
        where, command = folder, ["./mc.r"]
    elif way == "PATH":
        env["PATH"], command = f"{folder}:{env['PATH']}", ["/bin/sh", "-c", 'exec mc.r "$@"', "sh"]
    elif way == "Rscript":
        where, command = folder, ["Rscript", "mc.r"]
    done = subprocess.run([*command, "0.5", "10"], cwd=where, env=env, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert 0 < float(done.stdout) < 1


def test_a_message_is_bytes_or_text(run: Run) -> None:
    every_byte = bytes(range(256)) * 5000
    assert run('writeBin(read_bytes(), pipe("cat", "wb"))', every_byte).stdout == every_byte
    assert (
        run("cat(nchar(read_text()), argument(2))", "aü b\n".encode(), "x", "two", LC_ALL="C.UTF-8").stdout == b"4 two"
    )
    assert run("cat(read_text())", b"a\0b").returncode == 65


@pytest.mark.parametrize(
    "text", ["number(1)", 'bad_input("no good: ", 1)', 'tryCatch(stop("no good: 1"), error = bad_input)']
)
def test_bad_input_is_told_and_no_further_try_asked_for(run: Run, text: str) -> None:
    done = run(f"{text}; cat('not reached')", b"", "two")
    assert (done.returncode, done.stdout) == (65, b"")
    assert b"two" in done.stderr or b"no good: 1" in done.stderr


def test_an_error_of_r_asks_for_another_try(run: Run) -> None:
    assert run('stop("wrong")').returncode == 1


def test_an_item_has_its_number_and_a_message_its_id(run: Run) -> None:
    shown = run("cat(item(), message_id())", AMQP_ITEM="7", AMQP_MESSAGE_ID="../a b").stdout
    assert shown == b"7 ___a_b"
    first, second = (run("cat(item(), message_id())").stdout for _ in range(2))
    assert first.startswith(b"1 ")
    assert first != second


@pytest.mark.parametrize("what", ['"one"', 'charToRaw("one\\n")', 'function(draft) cat("one\\n", file = draft)'])
def test_a_result_is_there_as_a_whole(run: Run, tmp_path: Path, what: str) -> None:
    path = tmp_path / "results" / "1.csv"
    path.parent.mkdir()
    path.write_text("before")
    assert run(f'write_result("{path}", {what})').returncode == 0
    assert path.read_text() == "one\n"
    assert path.stat().st_mode & 0o777 == 0o644
    assert [one.name for one in path.parent.iterdir()] == ["1.csv"]


def test_a_result_that_fails_leaves_the_one_before(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "results" / "1.csv"
    path.parent.mkdir()
    path.write_text("before")
    half = 'function(draft) { cat("ha", file = draft); stop("wrong") }'
    assert run(f'write_result("{path}", {half})').returncode == 1
    assert [(one.name, one.read_text()) for one in path.parent.iterdir()] == [("1.csv", "before")]
    assert b"cannot write to" in run('write_result("/no/where/1", "x")').stderr


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        ('paste("got", text)', ["got a", "ok 6"]),
        ('cat("got", text, "\\n")', ["got a ", "ok 7"]),
        ("print(1:2)", ["[1] 1 2", "ok 8"]),
        ("{ print(1); 2.5 }", ["[1] 1", "2.5", "ok 10"]),
        ('charToRaw("abc\\n")', ["abc", "ok 4"]),
        ("NULL", ["ok 0"]),
        ('bad_input("no", "t good")', ["reject not good"]),
        ('{ cat("half"); stop("7 things\\nwrong") }', ["retry error: 7 things wrong"]),
    ],
)
def test_a_kept_alive_action_answers_each_message(folder: Path, text: str, answers: list[str]) -> None:
    assert kept_alive(folder, text, "a", "a") == ["ready 1", *answers, *answers]


def test_a_kept_alive_action_works_on_one_message_too(run: Run) -> None:
    done = run("keep_alive(function(text) { cat('printed\\n'); toupper(text) })", b"one\ntwo\n")
    assert (done.returncode, done.stdout) == (0, b"printed\nONE\nTWO\n")
    assert run("keep_alive(function(text) bad_input(text))", b"no").returncode == 65


def test_a_kept_alive_action_says_which_framing_it_takes(run: Run) -> None:
    done = run("keep_alive(identity)", CLUSTER_KEEP_ALIVE="1", CLUSTER_FRAMING="netstring")
    assert done.returncode == 1
    assert b"--framing" in done.stderr
