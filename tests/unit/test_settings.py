"""Where settings are given, and what is said where they are not as they should be."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cluster import settings_files
from cluster.settings import ROOT, Settings
from tests.refusing import refusal

WHOLE = (ROOT / "invoke.yaml").read_text()


class Places:
    """A folder with each place where settings may be given."""

    def __init__(self, folder: Path) -> None:
        self.root, self.etc, self.home = folder / "root", folder / "etc", folder / "home"
        for place in (self.root, self.etc, self.home):
            place.mkdir()
        (self.root / "invoke.yaml").write_text(WHOLE)
        self.said: list[str] = []
        self.environ = {"HOME": str(self.home)}

    def read(self, file: str | None = None) -> Any:
        """The settings."""
        return settings_files.read(self.environ, file, self.said.append, self.root, self.etc)

    def error(self, file: str | None = None) -> str:
        """What is said of them."""
        return refusal(self.read, file)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


def test_invoke_yaml_is_read_whole(places: Places) -> None:
    settings = Settings.read(places.read())
    assert settings.queue.url == "amqp://127.0.0.1:5672"
    assert settings.worker.tag == "worker:v1"
    assert settings.registry == "localhost:5000"


def test_every_default_has_a_comment() -> None:
    lines = WHOLE.splitlines()
    pairs = [(above, line) for above, line in pairwise(["", *lines]) if line and not line.endswith(":")]
    assert [line for above, line in pairs if "#" not in line and not above.startswith("#")] == []


def test_each_place_counts_more_than_those_before(places: Places, tmp_path: Path) -> None:
    def write(path: Path, count: int) -> None:
        lines = [f"  {key}: {count}" for key in ("port", "management_port", "prometheus_port", "mem_mib")[: 5 - count]]
        path.write_text("\n".join(["queue:", *lines, ""]))

    write(places.etc / "invoke.yaml", 1)
    write(places.home / ".invoke.yml", 2)
    places.environ |= {"INVOKE_QUEUE_PORT": "3", "INVOKE_QUEUE_MANAGEMENT_PORT": "3"}
    write(tmp_path / "mine.yaml", 4)
    queue = places.read(str(tmp_path / "mine.yaml"))["queue"]
    assert [queue["port"], queue["management_port"], queue["prometheus_port"], queue["mem_mib"]] == [4, "3", 2, 1]
    assert queue["name"] == "myqueue"
    assert places.said == []


def test_a_persons_file_of_invokes_and_of_other_programs_is_none_of_ours(places: Places) -> None:
    (places.home / ".invoke.yaml").write_text(
        "tasks: {auto_dash_names: false}\nrun: 5\nwebsite: {port: x}\nmarathon: m:1"
    )
    places.environ |= {"INVOKE_RUN_WATCHERS": "1", "INVOKE_DEBUG": "1", "INVOKE_TASKS_DEDUPE": "0"}
    assert places.read()["marathon"] == "m:1"
    assert places.said == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("queue: work", "queue: 'work' in {}: "),
        ("queue: [name]", "queue: ['name'] in {}: "),
        ("just words", "{}: 'just words' "),
        ("- a\n- b", "{}: ['a', 'b'] "),
        ("queue: {name: [", "{}, line 1: "),
        ("a: b\n\tc: d", "{}, line 2: "),
        ("queue: {port: 1}\na: 5\nqueue: {port: 2}", "{}, line 3: "),
        ("queue: {port: 1, port: 1}", "{}, line 1: "),
        ("[" * 100_000, "{}: "),
        ("when: 2024-13-45", "{}: "),
        ("queue: {prot: 5}", "queue.prot in {} is no setting (do you mean queue.port?)"),
        ("queue: {port: 70000}", "queue.port: 70000 in {}: a number from 1 to 65,535 is needed"),
        ("queue: {port: -1}", "queue.port: -1 in {}: a number from 1 to "),
        ("queue: {port: many}", "queue.port: 'many' in {}: a number is needed"),
        ("worker: {cpus: nan}", "worker.cpus: 'nan' in {}: a number "),
        ("worker: {cpus: .inf}", "worker.cpus: inf in {}: a number "),
        ("worker: {mem_mib: .inf}", "worker.mem_mib: inf in {}: a number "),
        ("worker: {jobs: '-1'}", "worker.jobs: '-1' in {}: a number from 0 to "),
        ("agents: {timeout_s: '1e999'}", "agents.timeout_s: '1e999' in {}: a number "),
        ("queue: {port: 1.5}", "queue.port: 1.5 in {}: a whole number is needed"),
        ("queue: {port: true}", "queue.port: True in {}: a number is needed"),
        ("queue: {port: [a]}", "queue.port: ['a'] in {}: a number is needed"),
        ("queue: {port: }", "queue.port: None in {}: a number is needed"),
        ("queue: {name: [a]}", "queue.name: ['a'] in {}: text is needed; write it in quotes"),
        ("queue: {tag: 1.10}", "queue.tag: 1.1 in {}: text is needed; write it in quotes"),
        ("queue: {name: ''}", "queue.name: '' in {}: it is empty"),
        ("worker: {instances: 0}", "worker.instances: 0 in {}: a number from 1 to "),
        ("scheduler: kubernetes", "scheduler: 'kubernetes' in {}: use one of local, "),
        ("project: ''", "project: '' in {}: use 1 to 32 of "),
        ("project: My Project", "project: 'My Project' in {}: use 1 to 32 of "),
    ],
)
def test_what_cannot_be_is_named_with_its_file(places: Places, content: str, words: str) -> None:
    path = places.home / ".invoke.yaml"
    path.write_text(content)
    assert places.error().startswith(words.format(path))


def test_what_is_no_setting_is_refused_where_nobody_else_has_any(places: Places) -> None:
    (places.root / "invoke.yaml").write_text(WHOLE + "\nregistri: a:5\n")
    assert places.error().startswith(f"registri in {places.root / 'invoke.yaml'} is no setting (do you mean registry?)")
    (places.root / "invoke.yaml").write_text(WHOLE + "\ntasks: {auto_dash_names: false}\n")
    assert places.error().startswith("tasks in ")


def test_a_mistyped_key_of_a_persons_file_is_told(places: Places) -> None:
    (places.home / ".invoke.yaml").write_text("registri: a:5\n")
    places.read()
    assert places.said == [
        f"registri in {places.home / '.invoke.yaml'} is no setting (do you mean registry?): not read"
    ]


@pytest.mark.parametrize("content", ["", "# nothing\n", None])
def test_an_empty_or_missing_file_names_what_is_missing(places: Places, content: str | None) -> None:
    file = places.root / "invoke.yaml"
    file.unlink()
    if content is not None:
        file.write_text(content)
    assert places.error().startswith(f"project is missing in {file}")


def test_a_missing_key_may_be_given_elsewhere(places: Places) -> None:
    (places.root / "invoke.yaml").write_text(WHOLE.replace("  port: 5672", "  #"))
    assert places.error().startswith("queue.port is missing in ")
    places.environ["INVOKE_QUEUE_PORT"] = "7"
    assert places.read()["queue"]["port"] == "7"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("INVOKE_WORKER_JOBS", "abc", "worker.jobs: 'abc' in INVOKE_WORKER_JOBS: a number"),
        ("INVOKE_QUEUE_NAME", "", "queue.name: '' in INVOKE_QUEUE_NAME: it is empty"),
        ("INVOKE_QUEUE_PROT", "1", "(do you mean INVOKE_QUEUE_PORT?)"),
        ("INVOKE_JOBS", "1", "(do you mean INVOKE_WORKER_JOBS?)"),
        ("INVOKE_SCHEDULR", "process", "(do you mean INVOKE_SCHEDULER?)"),
        ("INVOKE_AGENTS_X", "1", "INVOKE_AGENTS_X "),
        ("INVOKE_RUNTIME_CONFIG", "/nope", "INVOKE_RUNTIME_CONFIG '/nope': no such file"),
        ("INVOKE_RUNTIME_CONFIG", "", "INVOKE_RUNTIME_CONFIG '': no such file"),
    ],
)
def test_a_variable_that_cannot_be_is_named(places: Places, name: str, value: str, words: str) -> None:
    places.environ[name] = value
    assert name in places.error()
    assert words in places.error()


def test_another_programs_variable_is_told_without_its_value(places: Places) -> None:
    places.environ["INVOKE_WEBSITE_LOGIN"] = "s3cret"
    places.read()
    assert places.said == ["INVOKE_WEBSITE_LOGIN in the environment is no setting: not read"]


def test_a_file_that_is_not_read_is_told(places: Places) -> None:
    (places.home / ".invoke.py").write_text("registry = 'a:5'")
    (places.root / "invoke.json").write_text("{}")
    places.read()
    assert len(places.said) == 2
    assert places.said[0].startswith(f"{places.root / 'invoke.json'} is not read: {places.root / 'invoke.yaml'} is")
    assert places.said[1].startswith(f"{places.home / '.invoke.py'} is not read: settings are written as YAML")


def test_a_folder_in_a_files_place_is_named(places: Places) -> None:
    (places.home / ".invoke.yaml").mkdir()
    assert places.error().startswith(f"{places.home / '.invoke.yaml'}: Is a directory")


def test_a_place_that_cannot_be_looked_at_has_no_settings(places: Places) -> None:
    too_long = "x" * 300
    assert "no such file" in places.error(too_long)
    # As where HOME is another person's.
    places.environ["HOME"] = too_long
    assert places.read()["queue"]["name"] == "myqueue"


@pytest.mark.parametrize(
    ("words", "environ", "code", "told"),
    [
        (["-f", "/nope", "status"], {}, 1, "error: -f '/nope': no such file"),
        (["status"], {"INVOKE_WORKER_JOBS": "abc"}, 1, "error: worker.jobs: 'abc' in INVOKE_WORKER_JOBS: "),
        (["--list"], {"INVOKE_WORKER_JOBS": "abc", "INVOKE_RUNTIME_CONFIG": "/nope"}, 0, ""),
        (["--help", "worker.run-local"], {"INVOKE_TASKS_AUTO_DASH_NAMES": "0", "INVOKE_RUN_WATCHERS": "1"}, 0, ""),
    ],
)
def test_the_command_line_says_so_before_it_does_anything(
    tmp_path: Path, words: list[str], environ: dict[str, str], code: int, told: str
) -> None:
    (tmp_path / ".invoke.yaml").write_text("tasks: {auto_dash_names: false, executor_class: a.b}\n")
    command = [sys.executable, ROOT / "tasks.py", "--search-root", ROOT, *words]
    env = os.environ | {"HOME": str(tmp_path)} | environ
    done = subprocess.run(command, cwd="/", env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr[: len(told) or None]) == (code, told)
    assert bool(done.stdout) == (code == 0)
