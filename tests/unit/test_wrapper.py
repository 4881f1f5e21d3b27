"""`inv`: which command line reaches Invoke, from where, and what is said when Python is not there."""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from cluster.settings import ROOT

SHOWS_ARGUMENTS = """#!/bin/sh
shift 4 # -Es tasks.py --search-root ROOT
for word; do printf '%s\\n' "$word"; done
"""
TASKS = """
import os, sys
from invoke import task
from invoke.main import program

@task
def where(c, code=0):
    print(os.getcwd())
    sys.exit(code)

if __name__ == "__main__":
    program.run()
"""


def checkout(folder: Path, python: str = SHOWS_ARGUMENTS) -> Path:
    """A folder with `inv` and a finished .venv whose Python is the given script."""
    (folder / ".venv/bin").mkdir(parents=True)
    shutil.copy(ROOT / "inv", folder)
    for name in ("requirements.txt", ".venv/requirements.txt"):
        (folder / name).write_text("invoke\n")
    (folder / ".venv/bin/python").write_text(python)
    (folder / ".venv/bin/python").chmod(0o755)
    return folder / "inv"


@pytest.fixture
def passed_on(tmp_path: Path) -> Callable[..., list[str]]:
    inv = checkout(tmp_path)

    def run(*words: str) -> list[str]:
        return subprocess.run([inv, *words], check=True, capture_output=True, text=True).stdout.splitlines()

    return run


@pytest.mark.parametrize(
    "words",
    [
        ["--list"],
        [],
        ["publish", "--body", "two  words", "", "*", "$HOME", "'\""],
        ["publish", "--body", "queue.run_local"],
        ["publish", "-b", "worker.run_local"],
        ["publish", "--body=queue.run_local"],
        ["publish", "--body", "--no-push", "--queue", "queue.run_local"],
        ["agents.run", "--", "queue.run_local", "--"],
        ["queue_run.local", "a_queue.run_local"],
    ],
)
def test_passes_words_on_as_they_are(passed_on: Callable[..., list[str]], words: list[str]) -> None:
    assert passed_on(*words) == words


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        ("", "-t amqp:v1"),
        ("queue.build -t amqp:v1", "-t amqp:v1"),
        ("queue.build -tamqp:v1", ""),
        ("queue.build --tag=amqp:v1 --no-push", "--dry-run"),
        ("publish --body queue.run_local", ""),
        ("--help", ""),
        ("-e", "-q myqueue"),
    ],
)
@pytest.mark.parametrize("task", ["queue.run", "worker.run"])
def test_translates_the_name_of_a_task(passed_on: Callable[..., list[str]], before: str, task: str, after: str) -> None:
    words = [*before.split(), f"{task}_local", *after.split()]
    assert passed_on(*words) == [*before.split(), f"{task}-local", *after.split()]


def test_translates_every_task_of_a_chain(passed_on: Callable[..., list[str]]) -> None:
    words = passed_on("queue.run_local", "-t", "a", "worker.run_local", "-q", "worker.run_local")
    assert words == ["queue.run-local", "-t", "a", "worker.run-local", "-q", "worker.run_local"]


@pytest.fixture
def real_invoke(tmp_path: Path) -> Path:
    """A checkout with this Python's Invoke and one task that shows where it runs."""
    inv = checkout(tmp_path / "check out", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (inv.parent / "tasks.py").write_text(TASKS)
    return inv


def test_uses_its_own_tasks_wherever_it_is_started(real_invoke: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "tasks.py").write_text("raise SystemExit('the wrong tasks.py')")
    (elsewhere / "link").symlink_to(real_invoke)
    for inv in (real_invoke, "./link", "../check out/inv"):
        done = subprocess.run([inv, "where", "--code", "7"], cwd=elsewhere, capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (7, f"{elsewhere}\n", "")


def test_other_peoples_modules_are_not_found(real_invoke: Path, tmp_path: Path) -> None:
    for name in ("invoke", "queue", "json", "commands"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong one')")
    (real_invoke.parent / "commands.py").write_text("")
    with (real_invoke.parent / "tasks.py").open("a") as tasks:
        tasks.write("import commands\n")
    variables = {"PYTHONPATH": str(tmp_path), "PYTHONHOME": "/nonexistent", "PYTHONSAFEPATH": "1"}
    done = subprocess.run([real_invoke, "where"], env=os.environ | variables, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("said", "encoding"),
    [
        ({}, "utf-8"),
        ({"PYTHONUTF8": "0"}, "ascii"),
        ({"PYTHONUTF8": "0", "PYTHONIOENCODING": "utf8:replace"}, "utf-8"),
    ],
)
def test_what_asks_for_utf_8_counts(real_invoke: Path, said: dict[str, str], encoding: str) -> None:
    (real_invoke.parent / "tasks.py").write_text("import sys\nprint(sys.stdout.encoding)\n")
    variables = {"PATH": os.environ["PATH"], "LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([real_invoke], env=variables | said, capture_output=True, text=True)
    assert done.stdout == f"{encoding}\n", done.stderr


def test_what_is_tried_after_the_installation_is_all_that_the_commands_need() -> None:
    needed = re.search(r'^needed="(.*)"$', (ROOT / "inv").read_text(), re.MULTILINE)
    ours, _, _tests = (ROOT / "requirements.txt").read_text().partition("# ./inv test")
    assert needed
    modules = [{"PyYAML": "yaml"}.get(name, name) for name in re.findall(r"^\w+", ours, re.MULTILINE)]
    assert needed[1].split(", ") == sorted(modules)


def test_is_found_through_path_and_by_sh(real_invoke: Path) -> None:
    folder = real_invoke.parent
    path = f"{folder}:{os.environ['PATH']}"
    for command in (["inv", "--list"], ["sh", "inv", "--list"]):
        done = subprocess.run(command, cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True)
        assert "where" in done.stdout, done.stderr


def test_core_flags_reach_invoke(real_invoke: Path) -> None:
    for flags, expected in ((["--help"], "Core options"), (["where", "--help"], "--code=INT"), (["--list"], "where")):
        assert expected in subprocess.run([real_invoke, *flags], check=True, capture_output=True, text=True).stdout


def test_signals_reach_invoke(tmp_path: Path) -> None:
    inv = checkout(tmp_path, "#!/bin/sh\ntrap 'exit 42' TERM\necho ready\nwhile :; do sleep 0.05; done\n")
    with subprocess.Popen([inv], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 42


def test_costs_less_than_30_ms(tmp_path: Path) -> None:
    inv = checkout(tmp_path, "#!/bin/sh\n")

    def took_s() -> float:
        begin = time.perf_counter()
        subprocess.run([inv, "queue.run_local", "-t", "amqp:v1"], check=True)
        return time.perf_counter() - begin

    assert any(took_s() < 0.030 for _ in range(100))  # a machine may be busy, but not each time


@pytest.fixture
def bare_path(tmp_path: Path) -> Path:
    """A PATH that has what every Debian has, but neither apt-get nor Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("sh", "cat", "cmp", "cp", "env", "find", "flock", "grep", "id", "mkdir", "mv", "readlink", "rm"):
        found = shutil.which(tool)
        if found:
            (folder / tool).symlink_to(found)
    return folder


def run_without_venv(folder: Path, path: Path) -> subprocess.CompletedProcess[str]:
    inv = checkout(folder / "x")
    shutil.rmtree(folder / "x/.venv")
    return subprocess.run([inv, "--list"], env={"PATH": str(path)}, capture_output=True, text=True)


def stand_in_python(path: Path, script: str) -> None:
    (path / "python3").write_text(f"#!{path}/sh\n{script}")
    (path / "python3").chmod(0o755)


OLD = 'if [ "$1" = -V ]; then echo Python 3.9.2; else echo /usr/bin/python3.9; exit 1; fi'
NO_VENV = 'case $3 in *version*) echo "{path}/python3";; *) exit 1;; esac'


@pytest.mark.parametrize(
    ("python", "named"),
    [("", "apt install python3 python3-venv"), (OLD, "3.9.2"), (NO_VENV, "apt install python3-venv")],
)
def test_a_python_that_is_not_there_old_or_half_is_one_line(
    tmp_path: Path, bare_path: Path, python: str, named: str
) -> None:
    if python:
        stand_in_python(bare_path, python.replace("{path}", str(bare_path)))
    done = run_without_venv(tmp_path, bare_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert named in done.stderr.splitlines()[-1]


def test_what_apt_get_could_not_do_is_shown_without_the_rest(tmp_path: Path, bare_path: Path) -> None:
    for tool, script in {"id": "echo 0", "apt-get": 'echo "Unpacking $*"; echo "E: cannot $*"; exit 100'}.items():
        (bare_path / tool).unlink(missing_ok=True)
        (bare_path / tool).write_text(f"#!{bare_path}/sh\n{script}\n")
        (bare_path / tool).chmod(0o755)
    done = run_without_venv(tmp_path, bare_path)
    assert (done.returncode, done.stdout) == (1, "")
    _first, _doing, *causes, last = done.stderr.splitlines()
    assert [line.split()[:2] for line in causes] == [["E:", "cannot"]] * 2
    assert last.startswith("error: python3 ")


# Python and its pip, which go on when the test has seen how far they are.
SLOW_PYTHON = """
for last; do :; done
packages=${0%/bin/python}/lib/python3/site-packages
until_seen() { until [ -e ../seen.$1 ]; do sleep 0.05; done; }
case $* in
    *realpath*) echo "$0" ;;
    *"-m venv"*) mkdir -p "$last/bin" "$last/lib/python3/site-packages/pip-1.dist-info"; cp "$0" "$last/bin/python" ;;
    *"-m pip"*)
        echo 'Collecting a'; echo '  Downloading a-1.whl (1 kB)'; echo 'Processing ./b.whl'
        until_seen found
        echo 'Installing collected packages: a, b'; mkdir "$packages/a-1.dist-info"
        until_seen installed
        if [ -e ../fails ]; then echo 'ERROR: no room'; exit 1; fi ;;
esac
"""
APT_GET = """
shift 4
until_seen() { until [ -e ../seen.$1 ]; do sleep 0.05; done; }
echo 'dlstatus:1:45.2:Retrieving file 1 of 2' >&8
until_seen fetched
printf 'pmstatus:python3:20:x\npmstatus:python3:80.5:Unpacking: python3\n' >&8
until_seen up
ln -s ../made "${0%/apt-get}/python3"
"""


def seen_at_a_terminal(folder: Path, path: Path, **steps: str) -> tuple[int, str]:
    """Run `inv` without .venv at a terminal; each step is what it is to show before the named thing goes on."""
    inv = checkout(folder / "x")
    shutil.rmtree(inv.parent / ".venv")
    for tool in ("sleep", "ln"):
        (path / tool).symlink_to(str(shutil.which(tool)))
    near, far = pty.openpty()
    env = {"PATH": str(path), "TERM": "xterm"}
    with subprocess.Popen([inv, "--list"], cwd=inv.parent, env=env, stdout=far, stderr=far) as process:
        os.close(far)
        shown, deadline = "", time.monotonic() + 60
        for name, awaited in steps.items():
            while awaited not in shown.rpartition("\r")[2]:
                assert time.monotonic() < deadline, shown
                try:
                    shown += os.read(near, 4096).decode()
                except OSError:
                    raise AssertionError(shown) from None
            (folder / f"seen.{name}").touch()
        with suppress(OSError):  # its end
            while read := os.read(near, 4096):
                shown += read.decode()
    os.close(near)
    return process.returncode, shown.replace("\r\n", "\n")


@pytest.mark.parametrize("fails", [False, True])
def test_the_packages_are_counted_in_one_line_as_they_come(tmp_path: Path, bare_path: Path, fails: bool) -> None:
    stand_in_python(bare_path, SLOW_PYTHON)
    if fails:
        (tmp_path / "fails").touch()
    code, shown = seen_at_a_terminal(
        tmp_path, bare_path, found="2 packages found", installed="[##########          ] 1 of 2 packages installed"
    )
    first, *_progress, last = re.split(r"\r(?:\x1b\[K)?", shown)
    assert first == "inv: first use: installing Python packages into .venv ...\n"
    assert code == int(fails)
    assert last.splitlines()[:1] == (["ERROR: no room"] if fails else [])
    assert "\n" not in "".join(_progress)


def test_apt_get_shows_how_far_it_is(tmp_path: Path, bare_path: Path) -> None:
    (bare_path / "id").unlink()
    stand_in_python(bare_path, SLOW_PYTHON)
    (bare_path / "python3").rename(tmp_path / "made")
    for tool, script in {"id": "echo 0", "apt-get": APT_GET}.items():
        (bare_path / tool).write_text(f"#!{bare_path}/sh\n{script}\n")
        (bare_path / tool).chmod(0o755)
    steps = {"fetched": "apt-get: [#########           ] fetched", "up": "apt-get: [################    ] set up"}
    code, shown = seen_at_a_terminal(tmp_path, bare_path, **steps, found="2 packages found", installed="1 of 2")
    assert code == 0, shown


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_checkout_of_someone_else_is_one_line(tmp_path: Path, bare_path: Path) -> None:
    inv = checkout(tmp_path / "x")
    shutil.rmtree(inv.parent / ".venv")
    inv.parent.chmod(0o555)
    done = subprocess.run([inv, "--list"], env={"PATH": str(bare_path)}, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: cannot write to {inv.parent}/.venv: run inv once as its owner\n"


def test_shell_is_clean() -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    subprocess.run([shellcheck, ROOT / "inv"], check=True)
