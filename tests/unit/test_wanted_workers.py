"""Workers as a run wants them, beside those that run, as values."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, cast

import pytest

from cluster.apps.app import AppSpec
from cluster.operations.deploy import Rollout, patient
from cluster.operations.wanted_workers import Wanted, action_of, local_action, options_of, queue_of, runs_as_wanted
from cluster.operations.workforce import busy_with
from cluster.queue.runs.shell_words import in_one
from cluster.schedulers import Scheduler
from scripts.amqp.management import QueueCount
from tests.conftest import SETTINGS

RUNS = "exec cluster_worker -u amqp://127.0.0.1:5672 -q q --tag -j 4 --attempts 5 -- mc.r 'a b' '{alpha}'"


def app(command: str) -> AppSpec:
    return AppSpec("/worker-q", command=command)


def suits(command: str, action: str, **asked: Any) -> bool:
    wanted = Wanted("q", action, **asked)
    return runs_as_wanted(app(command), wanted, wanted.work(SETTINGS, action, wanted.jobs))


@pytest.mark.parametrize(
    ("asked", "is_so"),
    [
        ({}, True),
        ({"attempts": 5}, True),
        ({"jobs": 4}, True),
        ({"options": "-j4 --tag"}, True),
        ({"attempts": 4}, False),
        ({"jobs": 1}, False),
        ({"options": "-j 2"}, False),
        ({"timeout_s": 60}, False),
        ({"keep_alive": True}, False),
        ({"options": "--breaker 0"}, False),
    ],
)
def test_workers_suit_where_they_have_all_that_is_asked_for(asked: dict[str, Any], is_so: bool) -> None:
    assert suits(RUNS, "mc.r 'a b' {alpha}", **asked) == is_so


def test_options_of_a_worker_that_are_not_asked_for_are_taken_as_they_are() -> None:
    more = RUNS.replace("-j 4", "-j 4 --prefetch 8 --timeout 9 --breaker 7")
    for asked in ({}, {"jobs": 4}, {"timeout_s": 9}, {"options": "--breaker 7"}):
        assert suits(more, "mc.r 'a b' {alpha}", **asked)
    assert not suits(more, "mc.r 'a b' {alpha}", options="-j 4 --prefetch 5")


@pytest.mark.parametrize(
    "words", [["mc.r", "{alpha}", "a b", "it's", '"', "", "$x", "#", "\\"], ["sh", "-c", "cat; cat"]]
)
def test_an_action_is_a_flag_that_is_read_as_the_same_words(words: list[str]) -> None:
    assert shlex.split(in_one(words)) == words
    assert in_one(["mc.r", "{alpha}"]) == "mc.r {alpha}"


@pytest.mark.parametrize("action", ["mc.r", "mc.r a b {alpha}", "mc.r 'a b' {beta}", "other.r 'a b' {alpha}"])
def test_workers_with_another_action_do_not_suit(action: str) -> None:
    assert not suits(RUNS, action)


def test_a_command_that_is_a_persons_own_suits_nobody_and_is_shown() -> None:
    for command in ("exec my_worker --queue q", "exec cluster_worker", "exec cluster_worker 'open", ""):
        assert options_of(app(command)) is None
        assert action_of(app(command)) == command
        assert not suits(command, "mc.r")
    assert action_of(app(RUNS)) == "mc.r 'a b' '{alpha}'"


def test_the_queue_of_workers_is_in_their_command_else_in_the_definition_and_other_apps_have_none() -> None:
    assert queue_of(app(RUNS)) == "q"
    assert queue_of(app("exec my_worker").with_env({"QUEUE_NAME": "mine"})) == "mine"
    assert queue_of(app("exec rabbitmq-server")) == ""


@pytest.mark.parametrize(
    ("action", "found"),
    [
        ("mc.sh a.txt", "{here}/mc.sh a.txt"),
        ("./mc.sh {1}", "{here}/mc.sh '{1}'"),
        ("deep/mc.sh", "{here}/deep/mc.sh"),
        ("sh mc.sh 'a b'", "sh {here}/mc.sh 'a b'"),
        ("sh -c mc.sh", "sh -c mc.sh"),
        ("wordcount.sh", "wordcount.sh"),
        ("cat deep", "cat deep"),
        ("./none.sh", "./none.sh"),
        ("/bin/cat", "/bin/cat"),
        ("cat", "cat"),
    ],
)
def test_an_action_of_this_folder_is_named_by_its_whole_path(tmp_path: Path, action: str, found: str) -> None:
    for name in ("mc.sh", "deep/mc.sh", "wordcount.sh", "cat", "a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch(mode=0o755)
    words = shlex.split(found.replace("{here}", str(tmp_path)))
    assert list(local_action(shlex.split(action), tmp_path)) == words


def test_a_script_of_one_s_own_is_copied_under_its_whole_path_too(tmp_path: Path) -> None:
    for name, content in (("mc.sh", b"#!/bin/sh"), ("mc", b"\x7fELF\0"), ("bin/mc.sh", b"#!/bin/sh")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    found = [
        local_action([str(tmp_path / name), "x"], tmp_path, lambda file: "copied")[0]
        for name in ("mc.sh", "mc", "bin/mc.sh", "none")
    ]
    assert found == ["copied", *(str(tmp_path / name) for name in ("mc", "bin/mc.sh", "none"))]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([], ""),
        ([QueueCount("q", 0, 0, 2), QueueCount("q.retry.1s", 0, 0, 0), QueueCount("q.results.0badcafe", 0, 0, 0)], ""),
        ([QueueCount("q", None, None, None), QueueCount("other.results.0badcafe", 9, 0, 0)], ""),
        ([QueueCount("q", 1_500, 0, 2)], "1,500"),
        ([QueueCount("q", 0, 0, 2), QueueCount("q.retry.1s", 3, 0, 0)], "3 "),
        ([QueueCount("q", 0, 1, 2)], "in hand"),
        ([QueueCount("q", 0, 0, 2), QueueCount("q.results.0badcafe", 1, 0, 0)], "0badcafe"),
        ([QueueCount("q", 7, 0, 2), QueueCount("q.results.0badcafe", 0, 0, 1)], "0badcafe"),
    ],
)
def test_what_is_left_for_workers_is_said(found: list[QueueCount], words: str) -> None:
    said = busy_with("q", found)
    assert bool(said) == bool(words)
    assert words in said


def test_what_is_left_of_the_run_that_goes_on_is_in_nobodys_way() -> None:
    own = [QueueCount("q", 0, 1, 2), QueueCount("q.results.0badcafe", 1, 0, 0)]
    assert busy_with("q", own, "0badcafe") == ""
    assert "--run 0badcafe" in busy_with("q", own, "1badcafe")
    assert "--run 1badcafe" in busy_with("q", [*own, QueueCount("q.results.1badcafe", 1, 0, 0)], "0badcafe")


def test_a_kept_alive_action_has_its_time_to_load_on_this_machine() -> None:
    work = Wanted("q", "model", keep_alive=True, options="--ready-timeout 900").work(SETTINGS, "model", 1)
    here, there = (Rollout(cast("Scheduler", None), print, is_watched=is_here) for is_here in (True, False))
    assert patient(here, work).options.timeout_s > 900
    assert patient(here, Wanted("q", "model").work(SETTINGS, "model", 1)) == here
    assert patient(there, work) == there
