"""The list of Marathon's odd cases in docs/marathon.md: every test that it names is there; and two of the cases."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from cluster.apps import definitions
from cluster.components import ALL, Component
from cluster.settings import ROOT

TESTS = ROOT / "tests"
CASES = re.findall(
    r"^- \*\*(.+?)\*\*(.*?)(?=^- |^#|\Z)", (ROOT / "docs/marathon.md").read_text(), re.DOTALL | re.MULTILINE
)
NAMED = {title: re.findall(r"`([a-z0-9_]+/[a-z0-9_]+\.py::[^`]*)`", text) for title, text in CASES}
TITLES = [re.sub(r"\W+", "-", title)[:50] for title in NAMED]


@cache
def named_in(path: Path) -> frozenset[str]:
    """`test_x` and `TestX::test_y` of a file, which is read and not run."""
    return frozenset(_tests(ast.parse(path.read_text()), "")) if path.is_file() else frozenset()


def _tests(node: ast.Module | ast.ClassDef, prefix: str) -> Iterator[str]:
    for each in node.body:
        if isinstance(each, ast.FunctionDef) and each.name.startswith("test_"):
            yield prefix + each.name
        if isinstance(each, ast.ClassDef) and each.name.startswith("Test"):
            yield from _tests(each, f"{prefix}{each.name}::")


@pytest.mark.parametrize("named", NAMED.values(), ids=TITLES)
def test_every_case_has_tests_and_they_are_there(named: list[str]) -> None:
    found = [name for name in named if name.partition("::")[2] in named_in(TESTS / name.partition("::")[0])]
    assert found == named
    assert named


def test_every_case_is_read() -> None:
    text = (ROOT / "docs/marathon.md").read_text()
    assert len(CASES) == text.count("\n- ") >= 40
    assert sum(map(len, NAMED.values())) == text.count("::test_")


@pytest.mark.parametrize("component", ALL, ids=lambda component: component.name)
def test_every_command_of_ours_takes_the_place_of_its_shell(component: Component) -> None:
    assert definitions.load(component.definition)["cmd"].startswith("exec ")


def test_nothing_of_ours_reads_a_port_of_its_environment() -> None:
    texts = [path for folder in ("components", "scripts") for path in (ROOT / folder).rglob("*") if path.is_file()]
    read = re.compile(rb"[$][{]?PORTS?\d*\b|environ\S*[\"']PORT")
    assert [path for path in texts if path.suffix != ".pyc" and read.search(path.read_bytes())] == []
