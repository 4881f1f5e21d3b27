"""Where apps are looked for on this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from cluster import engine, here
from cluster.settings import ROOT, Settings


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """Those of invoke.yaml, on a machine without an engine."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(engine, "SOCKET", str(tmp_path / "docker.sock"))
    return Settings.read(yaml.safe_load((ROOT / "invoke.yaml").read_text()))


def test_without_an_engine_only_processes_are_looked_for(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [one.name for one in here.every_scheduler(settings)] == ["process"]
    assert capsys.readouterr().err == ""


def test_an_engine_that_should_be_there_is_missed_aloud(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    assert [one.name for one in here.every_scheduler(settings)] == ["process"]
    said = capsys.readouterr().err
    assert said.startswith("not looked for in containers: no Docker Engine answers at unix:///nowhere.sock")

    here.every_scheduler(replace(settings, scheduler="process"))
    assert capsys.readouterr().err == ""
