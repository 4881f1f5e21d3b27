"""What the documents tell people to type exists: tasks, flags, files."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from invoke import Collection

import tasks
from cluster.settings import ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMESPACE: Collection = tasks.namespace
NAMES = {name for one in NAMESPACE.task_names.items() for name in (one[0], *one[1])}
CORE_FLAGS = {"--help", "--list"}


def commands(text: str) -> Iterator[list[str]]:
    """Every `./inv ...` of a text, as words, up to the end of its code."""
    for found in re.finditer(r"\./inv( [^`\n#|;\"]*)", text):
        for part in found[1].split("&&"):
            words = part.removeprefix(" ./inv").split()
            if words and not words[0].startswith("..."):
                yield words


ALL = [(path, words) for path in DOCUMENTS for words in commands(path.read_text())]


@pytest.mark.parametrize(
    ("path", "words"), ALL, ids=[f"{path.name}: {' '.join(words)[:50]}" for path, words in ALL]
)  # fmt: skip
def test_commands_of_the_documents_exist(path: Path, words: list[str]) -> None:
    if words[0] in CORE_FLAGS:
        words = words[1:] or ["demo"]
    name, *rest = words
    name = name.replace("run_local", "run-local")
    assert name in NAMES
    flags = {flag for argument in NAMESPACE[name].get_arguments(ignore_unknown_help=True) for flag in argument.names}
    used = {word.lstrip("-").partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
    assert used <= flags


def test_the_readme_is_read_at_all() -> None:
    assert len([path for path, _ in ALL if path.name == "README.md"]) > 20


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", path.read_text())
    gone = [one for one in targets if not one.startswith("http") and not (path.parent / one).exists()]
    assert gone == []
