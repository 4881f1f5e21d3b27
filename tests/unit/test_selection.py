"""The engine that is meant: of flags, of invoke.yaml, of this machine."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path
from typing import cast

import psutil
import pytest

from cluster import engine
from cluster.apps.app import AppSpec, AppStatus, Instance, State, Volume
from cluster.apps.flags import AppOverrides
from cluster.engine import is_of_this_machine
from cluster.operations import deploy, operate
from cluster.operations.operate import Target
from cluster.schedulers import Scheduler, selection
from cluster.schedulers.selection import Engine
from cluster.settings import Settings
from scripts.errors import ClusterError, ServiceAway
from tests.conftest import SETTINGS
from tests.docker_contexts import add_context
from tests.refusing import refusal


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """Those of invoke.yaml, on a machine without an engine."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(engine, "SOCKET", str(tmp_path / "docker.sock"))
    return SETTINGS


def looked_for(settings: Settings) -> tuple[list[str], str]:
    """The engines of this machine, and what is said of the others."""
    said: list[str] = []
    return [one.name for one in selection.of_this_machine(settings, said.append)], "".join(said)


def local(settings: Settings) -> Scheduler:
    return selection.local(settings, print)


def test_without_an_engine_only_processes_are_looked_for(settings: Settings) -> None:
    assert looked_for(settings) == (["process"], "")


def test_an_engine_that_should_be_there_is_missed_aloud(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    found, said = looked_for(settings)
    assert found == ["process"]
    assert "unix:///nowhere.sock" in said
    assert looked_for(replace(settings, scheduler="process")) == (["process"], "")


@pytest.mark.parametrize("address", ["ssh://ops@192.0.2.7", "tcp://192.0.2.7:2376", "192.0.2.7:2375"])
def test_the_engine_of_another_machine_runs_nothing_of_this_one(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", address)
    assert "192.0.2.7" in refusal(local, settings, by=engine.OtherMachine)
    found, said = looked_for(settings)
    assert found == ["process"]
    assert "DOCKER_HOST" in said


@pytest.mark.parametrize("named_by", ["config.json", "DOCKER_CONTEXT"])
def test_the_context_of_another_machine_does_not_either(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named_by: str
) -> None:
    add_context(tmp_path, "far", "ssh://192.0.2.7")
    if named_by == "config.json":
        (tmp_path / "config.json").write_text(json.dumps({"currentContext": "far"}))
    else:
        monkeypatch.setenv("DOCKER_CONTEXT", "far")
    found = refusal(local, settings, by=engine.OtherMachine)
    assert "'far'" in found
    assert "192.0.2.7" in found


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "tcp://localhost:1", "garbage"])
def test_an_engine_of_this_machine_is_asked_wherever_it_listens(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", address)
    assert "DOCKER_HOST" in refusal(local, settings, by=ServiceAway)


def test_the_addresses_of_this_machine_s_network_are_its_own() -> None:
    own = [one.address for found in psutil.net_if_addrs().values() for one in found if one.family == socket.AF_INET]
    assert all(is_of_this_machine(f"tcp://{address}:2375") for address in own)
    assert is_of_this_machine("ssh://me@localhost")


@pytest.mark.parametrize(
    ("at", "marathon", "scheduler", "found"),
    [
        ("", "", "local", "local"),
        ("", "", "process", "process"),
        ("", "", "marathon", "marathon:10.0.0.9:8080"),
        ("process", "", "marathon", "process"),
        ("", "10.0.0.1:8080", "local", "marathon:10.0.0.1:8080"),
        ("marathon", "10.0.0.1:8080", "local", "marathon:10.0.0.1:8080"),
        ("marathon:10.0.0.1:8080", "10.0.0.1:8080", "local", "marathon:10.0.0.1:8080"),
        ("marathon:10.0.0.1:8080", "", "local", "marathon:10.0.0.1:8080"),
        ("marathon", "", "local", "marathon:10.0.0.9:8080"),
    ],
)
def test_the_engine_is_that_of_the_flags_else_of_invoke_yaml(
    settings: Settings, at: str, marathon: str, scheduler: str, found: str
) -> None:
    settings = replace(settings, scheduler=scheduler, marathon="10.0.0.9:8080")
    assert str(selection.chosen(settings, at, marathon)) == found


@pytest.mark.parametrize(
    ("at", "marathon", "words"),
    [
        ("nomad", "", "--at nomad: "),
        ("local:x", "", "--at local:x"),
        ("local", "10.0.0.1:8080", "--at local and -m 10.0.0.1:8080"),
        ("marathon:10.0.0.2:8080", "10.0.0.1:8080", "--at marathon:10.0.0.2:8080 and -m 10.0.0.1:8080"),
        ("marathon", "", "-m HOST:PORT"),
    ],
)
def test_flags_that_mean_no_engine_or_two_are_named(settings: Settings, at: str, marathon: str, words: str) -> None:
    assert words in refusal(selection.chosen, settings, at, marathon)


@pytest.mark.parametrize(
    ("at", "login", "found"), [("slurm", "", "slurm"), ("slurm", "me@login1", "slurm:me@login1"),
    ("slurm:login2:2222", "me@login1", "slurm:login2:2222")],
)  # fmt: skip
def test_an_engine_may_be_reached_without_an_address_and_is_not_this_machine(
    settings: Settings, at: str, login: str, found: str
) -> None:
    settings = replace(settings, slurm=replace(settings.slurm, login=login))
    choice = selection.chosen(settings, at)
    assert (str(choice), choice.is_here) == (found, False)
    assert str(selection.chosen_to_deploy(settings, at)) == found
    assert str(selection.chosen_to_deploy(replace(settings, scheduler=at.partition(":")[0]), at)) == found
    assert f"--at {at}" in refusal(selection.chosen_to_run_local, settings, at)


@pytest.mark.parametrize(("scheduler", "found"), [("local", "local"), ("process", "process"), ("marathon", "local")])
def test_run_local_is_this_machine_whatever_the_scheduler_is(settings: Settings, scheduler: str, found: str) -> None:
    assert str(selection.chosen_to_run_local(replace(settings, scheduler=scheduler))) == found
    assert str(selection.chosen_to_run_local(replace(settings, scheduler=scheduler), "process")) == "process"
    assert "--at marathon:10.0.0.1:8080" in refusal(selection.chosen_to_run_local, settings, "marathon:10.0.0.1:8080")


def test_a_deploy_goes_elsewhere_unless_this_machine_is_named(settings: Settings) -> None:
    assert "-m HOST:PORT" in refusal(selection.chosen_to_deploy, settings)
    assert str(selection.chosen_to_deploy(settings, "local")) == "local"
    assert str(selection.chosen_to_deploy(replace(settings, scheduler="process"))) == "process"
    assert str(selection.chosen_to_deploy(replace(settings, marathon="10.0.0.9:8080"))) == "marathon:10.0.0.9:8080"


def test_a_new_engine_has_its_address_in_its_own_block(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    far = Engine("of.another", "Far", address_key="engines.process.address")
    monkeypatch.setitem(cast(dict[str, Engine], selection.SCHEDULERS), "process", far)
    assert "set engines.process.address: in invoke.yaml" in refusal(selection.chosen, settings, "process")
    settings = replace(settings, engines=replace(settings.engines, process={"address": "login1", "partition": "long"}))
    assert str(selection.chosen(settings, "process")) == "process:login1"
    assert selection.usual_options(settings, "process") == {"partition": "long"}


class Found:
    """An engine with an app that is in a state."""

    place, flag = "this machine", ""

    def __init__(self, *states: State) -> None:
        self._apps = [AppStatus(AppSpec("/app"), tuple(Instance(state, state) for state in states))] if states else []

    def status(self) -> list[AppStatus]:
        return self._apps


@pytest.mark.parametrize("other", [Found(), Found("stopped")])
def test_an_app_is_meant_where_it_runs(other: Found) -> None:
    runs = Found("stopped", "unhealthy")
    for engines in ([other, runs], [runs, other]):
        assert selection.running(cast(list[Scheduler], engines), "/app") is runs
    assert refusal(selection.running, [other, runs], "/other").startswith("/other does not run")


def test_a_suggested_command_line_names_an_engine_that_is_not_the_usual_one(settings: Settings) -> None:
    for scheduler, flag in (("process", ""), ("local", " --at process"), ("marathon", " --at process")):
        of = replace(settings, scheduler=scheduler)
        process = selection.connect(of, selection.chosen_to_run_local(of, "process"), print)
        assert f": ./inv status{flag} shows what does" in refusal(
            operate.stop, Target("/no-such", process), True, print
        )


def test_a_folder_that_is_not_there_is_refused_before_anything_is_changed(settings: Settings, tmp_path: Path) -> None:
    """The engine would say so when the old workers have ended."""
    (here,) = selection.of_this_machine(settings, print)
    missing = str(tmp_path / "missing")
    with pytest.raises(ClusterError, match=missing):
        deploy._with_options(settings, here, AppOverrides(volumes=(Volume(missing, missing),)))
    there = AppOverrides(volumes=(Volume(str(tmp_path), str(tmp_path)),))
    assert deploy._with_options(settings, here, there).volumes == there.volumes
