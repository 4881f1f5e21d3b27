"""What apt-get's output says about a failure, and who may install."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cluster.engine import debian
from tests.refusing import refusal


@pytest.mark.parametrize(
    ("output", "complaint"),
    [
        ("", "it did not say why"),
        ("Reading package lists...\nsomething odd\n", "something odd"),
        (
            "Reading package lists...\nE: Unable to locate package nosuch\nE: a consequence\n",
            "Unable to locate package nosuch",
        ),
        (
            "E: IO Error saving source cache\ntar: ./usr: Cannot write: No space left on device\n",
            "tar: ./usr: Cannot write: No space left on device",
        ),
    ],
)
def test_the_cause_is_found(output: str, complaint: str) -> None:
    assert debian.complaint_of(output) == complaint


# Fails to install anything until its lists are read, and reads all of them but one.
APT_GET = """#!/bin/sh
case "$*" in
    *update*) touch "$0.lists"; echo "E: Failed to fetch http://nosuch.example"; exit 100 ;;
    *sparrow*) test -e "$0.lists" ;;
    *) echo "E: Unable to locate package"; exit 100 ;;
esac
"""


@pytest.fixture
def apt_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "apt-get").write_text(APT_GET)
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


@pytest.mark.usefixtures("apt_get")
def test_a_source_that_cannot_be_read_need_not_matter() -> None:
    said: list[str] = []
    debian.install(["sparrow"], said.append)
    assert said == ["installing sparrow with apt-get"]


@pytest.mark.usefixtures("apt_get")
def test_what_cannot_be_installed_has_its_cause_named() -> None:
    assert "dodo: Failed to fetch http://nosuch.example" in refusal(debian.install, ["dodo"], lambda _: None)


def test_only_root_may_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert not debian.is_allowed()


def test_tools_of_root_are_found_and_ask_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/bin")
    environment = debian.environment()
    assert environment["PATH"] == "/bin:/usr/local/sbin:/usr/sbin:/sbin"
    assert environment["DEBIAN_FRONTEND"] == "noninteractive"
