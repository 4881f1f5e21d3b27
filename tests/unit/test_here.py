"""Where apps are looked for on this machine."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from docker.context.config import get_context_id

from cluster import engine
from cluster.engine.ports import is_of_this_machine
from cluster.schedulers import selection
from cluster.settings import Settings
from scripts.errors import ServiceAway
from tests.conftest import SETTINGS


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """Those of invoke.yaml, on a machine without an engine."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(engine, "SOCKET", str(tmp_path / "docker.sock"))
    return SETTINGS


def test_without_an_engine_only_processes_are_looked_for(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [one.name for one in selection.every_scheduler(settings)] == ["process"]
    assert capsys.readouterr().err == ""


def test_an_engine_that_should_be_there_is_missed_aloud(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    assert [one.name for one in selection.every_scheduler(settings)] == ["process"]
    said = capsys.readouterr().err
    assert said.startswith("not looked for in containers: no Docker Engine answers at unix:///nowhere.sock")

    selection.every_scheduler(replace(settings, scheduler="process"))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("address", ["ssh://ops@192.0.2.7", "tcp://192.0.2.7:2376", "192.0.2.7:2375"])
def test_the_engine_of_another_machine_runs_nothing_of_this_one(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", address)
    with pytest.raises(engine.OtherMachine, match=r"DOCKER_HOST .*192\.0\.2\.7"):
        selection.scheduler(settings)
    assert [one.name for one in selection.every_scheduler(settings)] == ["process"]
    assert "DOCKER_HOST" in capsys.readouterr().err


@pytest.mark.parametrize("named_by", ["config.json", "DOCKER_CONTEXT"])
def test_the_context_of_another_machine_does_not_either(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named_by: str
) -> None:
    meta = tmp_path / "contexts/meta" / get_context_id("far")
    meta.mkdir(parents=True)
    endpoints = {"docker": {"Host": "ssh://192.0.2.7", "SkipTLSVerify": False}}
    (meta / "meta.json").write_text(json.dumps({"Name": "far", "Metadata": {}, "Endpoints": endpoints}))
    if named_by == "config.json":
        (tmp_path / "config.json").write_text(json.dumps({"currentContext": "far"}))
    else:
        monkeypatch.setenv("DOCKER_CONTEXT", "far")
    with pytest.raises(engine.OtherMachine, match=r"'far' .*192\.0\.2\.7"):
        selection.scheduler(settings)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "tcp://localhost:1", "garbage"])
def test_an_engine_of_this_machine_is_asked_wherever_it_listens(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", address)
    with pytest.raises(ServiceAway, match="which DOCKER_HOST names"):
        selection.scheduler(settings)


def test_the_addresses_of_this_machine_s_network_are_its_own() -> None:
    own = [one.address for found in psutil.net_if_addrs().values() for one in found if one.family == socket.AF_INET]
    assert all(is_of_this_machine(f"tcp://{address}:2375") for address in own)
    assert is_of_this_machine("ssh://me@localhost")
