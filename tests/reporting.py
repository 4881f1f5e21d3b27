"""A plugin of pytest for whoever started it: which tests failed with what, and which still ran when it was ended."""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

_LONGEST = 300
# Added by xdist to the names of tests that have to share a process: a word, or a module's path. What stands in brackets
# is the test's own.
_GROUP = re.compile(r"@[^@\[\]]+$")


class Reporting:
    """Follows the tests as they begin and end, those of other processes too."""

    def __init__(self, failures: str | None) -> None:
        self._file = Path(failures) if failures else None
        self._running: list[str] = []
        self._failures: dict[str, str] = {}

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test begins."""
        self._running.append(nodeid)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """A test has ended."""
        if nodeid in self._running:
            self._running.remove(nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test's setup, call or teardown is over."""
        if report.failed:
            self._failures.setdefault(_GROUP.sub("", report.nodeid), _reason(report))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Generator[None, Any, Any]:
        """All is over: write the failures down, and say what was not over before what hangs is waited for."""
        if self._file:
            self._file.write_text(json.dumps(self._failures))
        for nodeid in self._running:
            print(f"\nstill running: {nodeid}", flush=True)
        return (yield)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the file for the failures."""
    parser.addoption("--failures", help="write which tests failed with what into this file, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    """Follow the tests where their reports come together."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Reporting(config.getoption("--failures")))


def _reason(report: pytest.TestReport) -> str:
    """Return the first line of what it failed with, and when: in the test itself, or before or after it."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(crash.message if crash else report.longrepr).strip() or "no reason"
    when = "" if report.when == "call" else f"{report.when}: "
    return f"{when}{text.splitlines()[0]}"[:_LONGEST]
