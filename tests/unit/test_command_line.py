"""The command line as a person meets it: flags, help, errors, and what importing it costs."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from invoke import Collection, Context
from invoke.exceptions import Exit, ParseError
from invoke.parser import Argument

import tasks
from cluster.settings import ROOT
from commands import help as helping
from commands.output import result
from commands.task import MAY_BE_EMPTY, SHORT_FLAGS, Task, task
from scripts.__main__ import PROGRAMS as NAMES
from scripts.errors import ClusterError, MessagesFailed, ServiceAway
from tests.refusing import refusal

HEAVY = {"asyncio", "docker", "fabric", "pika", "requests", "rich", "psutil", "paramiko", "cluster.settings"}

# Each takes longer to load than the rest of a quick command.
SLOW = {"asyncio", "cryptography", "docker", "fabric", "paramiko", "psutil", "requests", "rich", "urllib3"}


def inv(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "invoke", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def every_task() -> Iterator[tuple[str, list[Argument]]]:
    """Name and arguments of each task."""
    namespace: Collection = tasks.namespace
    for name, others in namespace.task_names.items():
        assert isinstance(namespace[name], Task)
        yield min([name, *others], key=len), namespace[name].get_arguments()


ALL = list(every_task())
IDS = [name for name, _ in ALL]


def test_listing_the_tasks_imports_nothing_heavy() -> None:
    code = "import sys, json, tasks; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert HEAVY.isdisjoint(json.loads(done.stdout))


@pytest.mark.parametrize("engine", ["local", "process"])
@pytest.mark.parametrize(("words", "needed"), [(["status"], {"psutil"}), (["publish", "--body", "x"], set[str]())])
def test_quick_commands_load_nothing_that_they_do_not_need(engine: str, words: list[str], needed: set[str]) -> None:
    """What they load is what their time is; here no queue runs, and a Docker Engine may."""
    env = os.environ | {"INVOKE_SCHEDULER": engine, "INVOKE_PROJECT": f"test-{os.getpid()}", "INVOKE_QUEUE_PORT": "1"}
    command = [sys.executable, "-X", "importtime", "tasks.py", "--search-root", str(ROOT), *words]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    loaded = {
        line.rpartition("|")[2].strip().partition(".")[0]
        for line in done.stderr.splitlines()
        if line.startswith("import time:")
    }
    assert "pika" in loaded, done.stderr[-1000:]
    assert loaded & SLOW == needed


EACH = pytest.mark.parametrize(("name", "arguments"), ALL, ids=IDS)


@EACH
def test_short_flags_are_ours_and_no_others(name: str, arguments: list[Argument]) -> None:
    for argument in arguments:
        long = argument.names[0]
        short = [flag for flag in argument.names if len(flag) == 1]
        assert short == ([SHORT_FLAGS[long]] if long in SHORT_FLAGS else []), f"{name} --{long}"
        assert not argument.positional


@pytest.mark.parametrize("name", IDS)
def test_help_after_the_task_shows_help_and_runs_nothing(name: str) -> None:
    done = inv(name, "--help")
    assert done.returncode == 0
    assert "Docstring:" in done.stdout
    assert "none\n" not in done.stdout.split("Docstring:")[1].split("Options:")[0]


@EACH
def test_every_flag_has_its_help(name: str, arguments: list[Argument]) -> None:
    assert [argument.names[0] for argument in arguments if not argument.help] == []


def test_commands_of_one_name_in_two_groups_both_run() -> None:
    assert tasks.namespace["queue.logs"] != tasks.namespace["worker.logs"]


def test_a_number_that_is_none_is_one_line() -> None:
    done = inv("worker.run-local", "--jobs", "many")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "--jobs" in done.stderr


def test_a_closed_stdin_is_one_line() -> None:
    publish = [sys.executable, "-m", "invoke", "publish", "--file", "-"]
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" <&-', "sh", *publish], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("error: --file -: ")


def test_an_argument_without_a_default_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="marathon needs a default"):

        @task
        def deploy(c: Context, marathon: str) -> None:
            """Deploy."""


@pytest.mark.parametrize(("error", "code"), [(ClusterError, 1), (MessagesFailed, 2), (ServiceAway, 3)])
def test_an_expected_failure_is_one_line_with_its_exit_code(error: type[ClusterError], code: int) -> None:
    @task
    def fails(c: Context) -> None:
        """Fail."""
        raise error("the value, the place, the next step")

    with pytest.raises(Exit) as caught:
        fails(Context())
    assert (caught.value.code, caught.value.message) == (code, "error: the value, the place, the next step")


def test_line_ends_in_an_error_are_ours_alone() -> None:
    @task
    def fails(c: Context) -> None:
        """Fail."""
        raise ClusterError("a name\nerror: of others", ["  its words\x1b", "  and\nmore"])

    with pytest.raises(Exit) as caught:
        fails(Context())
    assert caught.value.message == "error: a name\\nerror: of others\n  its words\\x1b\n  and\\nmore"


def test_a_bug_keeps_its_traceback() -> None:
    @task
    def breaks(c: Context) -> None:
        """Break."""
        raise KeyError("bug")

    with pytest.raises(KeyError):
        breaks(Context())


@EACH
def test_no_flag_takes_a_value_that_is_none_or_says_that_it_is_not_given(name: str, arguments: list[Argument]) -> None:
    for argument in arguments:
        wrong = set()
        if type(argument.default) in (int, float):
            wrong |= {"nan", "inf", "-inf", "-1", "1e999", "1e10", "many", ""}
        if argument.takes_value and argument.default != [] and argument.name not in MAY_BE_EMPTY:
            wrong.add("")
        if argument.name in ("max_instances", "attempts", "cpus", "mem_mib"):
            wrong.add("0")
        for value in wrong:
            assert f"--{argument.names[0]} " in refusal(argument.set_value, value, by=ParseError)


def test_a_number_flag_reads_numbers() -> None:
    @task
    def counts(c: Context, jobs: int = 1, timeout: float = 0.0) -> None:
        """Count."""

    jobs, timeout = counts.get_arguments()
    jobs.value, timeout.value = "4", "1.5"
    assert (jobs.value, timeout.value) == (4, 1.5)
    with pytest.raises(ParseError):
        counts.get_arguments()[0].value = "1.5"


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Iterator[Callable[[int], str]]:
    """Put a terminal with colors in the place of STDOUT; yields what reads so many lines of it."""
    near, far = pty.openpty()
    for name, value in ({"TERM": "xterm", "NO_COLOR": ""} | variables).items():
        monkeypatch.setenv(name, value)

    def read(lines: int) -> str:
        shown = ""
        while shown.count("\n") < lines:
            assert select.select([near], [], [], 30)[0], shown
            shown += os.read(near, 4096).decode()
        return shown.replace("\r", "")

    with os.fdopen(far, "w") as written:
        monkeypatch.setattr(sys, "stdout", written)
        yield read
    os.close(near)


TABLE = """\
APP       ENGINE     UP  IMAGE
/x        local     1/1
/y        local     0/2  x: running
  y-1                           unhealthy: no answer

QUEUE  READY  TO RETRY  FAILED    LEFT
a          0         0   1,234  paused
FAILED line that is no head"""


def test_a_table_at_a_terminal_has_colors_where_something_is_wrong_or_well(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as read:
        result(TABLE)
        assert read(TABLE.count("\n") + 1).splitlines() == [
            "\x1b[1mAPP       ENGINE     UP  IMAGE\x1b[m",
            "/x        local     \x1b[32m1/1\x1b[m",
            "/y        local     \x1b[31m0/2\x1b[m  x: running",
            "  y-1                           \x1b[31munhealthy: no answer\x1b[m",
            "",
            "\x1b[1mQUEUE  READY  TO RETRY  FAILED    LEFT\x1b[m",
            "a          0         0   \x1b[31m1,234\x1b[m  \x1b[33mpaused\x1b[m",
            "FAILED line that is no head",
        ]


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colors_that_nobody_wants_or_sees_are_left_out(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    with terminal(monkeypatch, **variables) as read:
        result(f"{TABLE} \x1b[31m")
        assert read(TABLE.count("\n") + 1) == f"{TABLE} \\x1b[31m\n"


def test_an_error_has_a_color_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, ROOT / "tasks.py", "--search-root", ROOT, "demmo"]
    with terminal(monkeypatch) as read:
        subprocess.run(command, stderr=sys.stdout, check=False)
        assert read(1).startswith("\x1b[31merror:\x1b[m 'demmo'")
    assert "\x1b" not in subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False).stderr


def ours(*arguments: str) -> subprocess.CompletedProcess[str]:
    """As ./inv runs it."""
    command = [sys.executable, ROOT / "tasks.py", "--search-root", ROOT, *arguments]
    return subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("demmo", ["'demmo'", "mean demo?", "./inv --list"]),
        ("queue.built -t a", ["'queue.built'", "mean queue.build?"]),
        ("--help demmo", ["'demmo'", "mean demo?"]),
        ("help", ["'help'", "mean --help?"]),
        ("xyzzy", ["'xyzzy'", "./inv --list"]),
        ("worker", ["'worker'", "./inv --list worker"]),
        ("down --dat", ["--dat ", "mean --data?", "./inv --help down"]),
        ("down --nwo=x", ["--nwo ", "mean --now?"]),
        ("worker.deploy --partition work", ["--engine-option partition="]),
        ("down -z", ["-z ", "./inv --help down"]),
        (f"publish --files {__file__} {__file__}", [repr(__file__), "--files", "'*.csv'"]),
        ("down xyz", ["'xyz'", "./inv --list", "./inv --help down"]),
        ("queue.build -t", ["--tag ", "./inv --help queue.build"]),
        ("publish -q status -q status --body x", ["--queue "]),
        ("publish --queue=a -q b --body x", ["--queue "]),
        ("publish --queue= --body x", ["--queue "]),
        ("worker.run-local -u amqp://a -u amqp://me:secret@b", ["--url "]),
        ("worker.run-local --jobs x", ["--jobs ", "'x'"]),
        ("--list-depth x --list", ["--list-depth ", "'x'"]),
        ("-T x status", ["--command-timeout ", "'x'"]),
        ("--list-format x --list", ["--list-format ", "nested", "'x'"]),
        ("down --dry", ["--dry ", "--dry-run"]),
        ("-R down", ["-R ", "--dry-run"]),
    ],
)
def test_a_wrong_word_is_one_line_that_names_it_and_what_is_right(words: str, named: list[str]) -> None:
    done = ours(*words.split())
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("error: ")
    assert "secret" not in done.stderr
    assert [name for name in named if name not in done.stderr] == []


@pytest.mark.parametrize("words", [(), ("--help",)])
def test_without_a_command_the_commands_are_shown(words: tuple[str, ...]) -> None:
    done = ours(*words)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: ./inv COMMAND [FLAGS]")
    assert all(f"  {name} " in done.stdout for name in IDS)


@pytest.mark.parametrize("words", [("queue.run-local", "--help"), ("--help", "queue.run-local")])
def test_the_help_of_a_command_says_what_it_does_and_lists_its_flags(words: tuple[str, ...]) -> None:
    done = ours(*words)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: ./inv queue.run-local [FLAGS]\n\n  Run the queue on this machine, on ")
    assert "\nWhere\n      --at=ENGINE   " in done.stdout


@pytest.mark.parametrize(
    ("task", "specs"),
    [
        (
            "worker.run-local",
            ["    --attempts=N ", "    --volume=HOST:CONTAINER\n", "    --keep-alive ", "-q, --queue=QUEUE "],
        ),
        (
            "publish",
            ["    --header=NAME=VALUE ", "    --file=FILE ", "-b, --body=TEXT ", "    --retry-for=N ", "    --json "],
        ),
    ],
)
def test_the_help_of_a_command_shows_which_flags_take_a_value(task: str, specs: list[str]) -> None:
    shown = ours("--help", task).stdout
    assert [spec for spec in specs if f"\n  {spec}" not in shown] == []


@EACH
def test_the_help_of_a_command_shows_each_flag_once_and_first_what_it_needs(
    name: str, arguments: list[Argument]
) -> None:
    needed = [argument for each in tasks.namespace[name].needs for argument in each.split("|")]
    shown = re.findall(r"^  (?:-\w,|   ) --([\w-]+)", help_of(name), re.MULTILINE)
    assert sorted(shown) == sorted(argument.names[0] for argument in arguments)
    assert [flag.replace("-", "_") for flag in shown[: len(needed)]] == needed


def help_of(name: str) -> str:
    return helping.of_command(name, tasks.namespace[name])


@EACH
def test_help_fits_80_columns(name: str, arguments: list[Argument]) -> None:
    assert max(map(len, help_of(name).splitlines())) <= 80


def test_the_list_fits_80_columns_and_begins_with_the_first_day() -> None:
    lines = helping.listing(tasks.namespace).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1].split()[0] == "demo"
    assert sorted(line.split()[0] for line in lines if re.match(r"  \w", line)) == sorted(IDS)


def test_the_list_of_one_group_has_that_alone() -> None:
    names = [line.split()[0] for line in ours("--list", "registry").stdout.splitlines() if line[2] != " "]
    assert sorted(names) == sorted(name for name in IDS if name.startswith("registry."))


@pytest.mark.parametrize("words", [["--list"], ["--help"], ["--help", "worker.deploy"]])
def test_a_list_that_nobody_reads_ends_without_a_word(words: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, ROOT / "tasks.py", "--search-root", ROOT, *words]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False, env=env)
    os.close(write)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


PROGRAMS = (ROOT / "inv", *(ROOT / "scripts" / name for name in NAMES))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_each_program_says_the_version_that_pyproject_has(program: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    name = project["name"] if program.name == "inv" else program.name
    assert (done.stdout, done.stderr) == (f"{name} {project['version']}\n", "")
