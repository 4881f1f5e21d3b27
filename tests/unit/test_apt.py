"""What apt-get's output says about a failure, and who may install."""

from __future__ import annotations

import os

import pytest

from cluster import apt


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
    assert apt.complaint_of(output) == complaint


def test_only_root_may_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert not apt.is_allowed()


def test_tools_of_root_are_found_and_ask_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/bin")
    environment = apt.environment()
    assert environment["PATH"] == "/bin:/usr/local/sbin:/usr/sbin:/sbin"
    assert environment["DEBIAN_FRONTEND"] == "noninteractive"
