"""The launcher behind cluster_worker and marathon_app_hostport: which Python it takes, and what it says without one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.__main__ import PROGRAMS

ROOT = Path(__file__).resolve().parents[2]
REPORT = '#!/bin/sh\n[ "$2" = -c ] || echo "{name} $*"\n'
REFUSE = "#!/bin/sh\nexit 1\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with nothing but the launcher, under a path with a space."""
    scripts = tmp_path / "a checkout" / "scripts"
    scripts.mkdir(parents=True)
    shutil.copy(ROOT / "scripts/launch", scripts / "launch")
    (scripts / "a_program").symlink_to("launch")
    return scripts.parent


def python(path: Path, script: str) -> None:
    """An interpreter that answers the launcher's question as it likes, and reports what it is asked to run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script.replace("{name}", path.name))
    path.chmod(0o755)


def launch(program: Path, path: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{path}:/usr/bin:/bin"}
    return subprocess.run([program, "-q", "my queue"], capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize(
    ("own", "through", "found"),
    [(REPORT, "checkout", "python"), (REFUSE, "checkout", "python3"), (None, "a link", "python3")],
    ids=["its own Python first", "the system's next", "through a link from elsewhere"],
)
def test_which_python_it_takes(checkout: Path, tmp_path: Path, own: str | None, through: str, found: str) -> None:
    if own:
        python(checkout / ".venv/bin/python", own)
    python(tmp_path / "bin/python3", REPORT)
    (tmp_path / "bin/a_program").symlink_to(checkout / "scripts/a_program")
    program = checkout / "scripts/a_program" if through == "checkout" else tmp_path / "bin/a_program"
    done = launch(program, tmp_path / "bin")
    assert done.stdout == f"{found} -I -X utf8 {checkout}/scripts a_program -q my queue\n"


def test_without_a_python_one_line_says_what_to_do(checkout: Path, tmp_path: Path) -> None:
    python(tmp_path / "bin/python3", REFUSE)
    done = launch(checkout / "scripts/a_program", tmp_path / "bin")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert f"run {checkout}/inv once" in done.stderr


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_is_the_launcher_and_has_its_module(name: str) -> None:
    assert (ROOT / "scripts" / name).resolve() == ROOT / "scripts/launch"
    assert (ROOT / "scripts" / f"{name}.py").is_file()


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("start", ["-m scripts.{}", "-m scripts {}", "scripts {}", "scripts/{}.py", "-I scripts/{}.py"])
def test_every_program_can_be_started_without_the_launcher(name: str, start: str) -> None:
    command = [sys.executable, *start.format(name).split(), "--no-such-flag"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (64, ""), done.stderr
    assert f"see {name} --help" in done.stderr


@pytest.mark.parametrize("words", [[], ["sys"], ["no_such_program"]])
def test_another_name_is_one_line(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
