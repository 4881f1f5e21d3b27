"""`inv` makes a real .venv with a real pip, from a package that lies beside it: no network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from cluster.settings import ROOT

FIRST = "inv: first use: installing Python packages into .venv ..."
CHANGED = "inv: requirements.txt or Python has changed: installing Python packages into .venv ..."


def make_wheel(folder: Path) -> Path:
    """A package that prints the arguments of `inv`, and has all modules that `inv` asks for."""
    needed = re.search(r'^needed="(.*)"$', (ROOT / "inv").read_text(), re.MULTILINE)
    assert needed
    wheel = folder / "standin-1-py3-none-any.whl"
    files = {
        **{f"{name}.py": "" for name in needed[1].split(", ")},
        "standin.py": "import sys\ndef main():\n    print(sys.argv[3:])\n",
        "standin-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: standin\nVersion: 1\n",
        "standin-1.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        record = "".join(f"{name},,\n" for name in [*files, "standin-1.dist-info/RECORD"])
        archive.writestr("standin-1.dist-info/RECORD", record)
    return wheel


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "inv", tmp_path)
    (tmp_path / "requirements.txt").write_text(f"{make_wheel(tmp_path)}\n")
    (tmp_path / "tasks.py").write_text("import standin\nstandin.main()\n")
    return tmp_path


def start(checkout: Path, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [checkout / "inv", "--list"], cwd="/", env=os.environ | variables,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def result(process: subprocess.Popen[str]) -> tuple[int, str, list[str]]:
    out, err = process.communicate(timeout=300)
    said = [line for line in err.splitlines() if not re.fullmatch("inv: .*packages (found|installed)", line)]
    return process.returncode, out, said


def test_makes_the_venv_once_for_two_at_a_time_and_again_when_requirements_change(checkout: Path) -> None:
    both = [start(checkout), start(checkout)]
    results = [result(process) for process in both]
    assert [(code, out) for code, out, _ in results] == [(0, "['--list']\n")] * 2
    said = [line for _, _, lines in results for line in lines]
    assert said.count(FIRST) == 1
    assert set(said) <= {FIRST, "inv: waiting for another inv to finish .venv ..."}
    assert result(start(checkout)) == (0, "['--list']\n", [])

    with (checkout / "requirements.txt").open("a") as file:
        file.write("# a new line\n")
    assert result(start(checkout)) == (0, "['--list']\n", [CHANGED])


def test_interrupted_and_failed_runs_are_made_good(checkout: Path) -> None:
    (checkout / ".venv/bin").mkdir(parents=True)
    (checkout / ".venv/bin/python").symlink_to("/bin/true")  # as a stop in the middle leaves it
    good = (checkout / "requirements.txt").read_text()
    (checkout / "requirements.txt").write_text("/nonexistent/thing.whl\n")
    code, out, lines = result(start(checkout))
    assert (code, out, lines[0]) == (1, "", FIRST)
    assert any("/nonexistent/thing.whl" in line for line in lines[1:-1]), lines
    assert lines[-1].startswith("error: the packages of requirements.txt could not be installed")

    (checkout / "requirements.txt").write_text("# nothing\n")
    code, out, lines = result(start(checkout))
    assert (code, out, lines[0]) == (1, "", FIRST)
    assert lines[-1].endswith("cannot be imported (the words of Python are above)")

    (checkout / "requirements.txt").write_text(good)
    assert result(start(checkout)) == (0, "['--list']\n", [FIRST])


def test_what_is_set_for_other_pythons_leads_nothing_elsewhere(checkout: Path, tmp_path: Path) -> None:
    """By variables and by pip.conf; where packages come from is still the person's to say."""
    home, elsewhere, foreign = tmp_path / "home", tmp_path / "elsewhere", tmp_path / "foreign"
    (home / ".config/pip").mkdir(parents=True)
    settings = f"[global]\nuser = true\nno-index = true\n[install]\ntarget = {elsewhere}\nprefix = {elsewhere}\n"
    (home / ".config/pip/pip.conf").write_text(settings)
    foreign.mkdir()
    for name in ("venv", "ensurepip", "queue", "docker", "standin"):
        (foreign / f"{name}.py").write_text("raise SystemExit('the wrong one')")
    (checkout / "requirements.txt").write_text("standin==1\n")
    python = {"HOME": str(home), "PYTHONPATH": str(foreign), "PYTHONHOME": "/nonexistent"}
    pip = {"PIP_TARGET": str(elsewhere), "PIP_REQUIRE_VIRTUALENV": "1", "PIP_FIND_LINKS": str(checkout)}
    assert result(start(checkout, **python, **pip)) == (0, "['--list']\n", [FIRST])
    assert not elsewhere.exists()
    assert not (home / ".local").exists()
