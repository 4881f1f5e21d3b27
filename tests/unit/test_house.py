"""The rules of the house: who may import whom, and what stands where."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.settings import ROOT

LAYERS = ("scripts", "cluster", "commands", "tasks")
# Within scripts/: what knows nothing of one another, nor of the worker, which knows them all.
APART = ("action", "amqp", "marathon")
# Each of these libraries is the job of a few modules: a layer, or a package of it.
OWNERS = {
    "docker": {"cluster"},
    "fabric": {"cluster/hosts"},
    "paramiko": {"cluster/hosts"},
    "psutil": {"cluster"},
    "rich": {"cluster"},
    "pika": {"scripts/amqp", "scripts/worker", "scripts/event_loop", "cluster"},
    "requests": {"scripts/http_fetch", "scripts/http_failures", "cluster"},
    "invoke": {"commands", "tasks"},
}


def modules() -> Iterator[Path]:
    yield ROOT / "tasks.py"
    for layer in LAYERS[:-1]:
        yield from (ROOT / layer).rglob("*.py")


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every imported top-level name, and whether it is imported at module level."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        else:
            continue
        for name in names:
            yield name.partition(".")[0], node in tree.body


MODULES = sorted(modules())
IDS = [str(path.relative_to(ROOT)) for path in MODULES]


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_imports_go_one_way(path: Path) -> None:
    layer = path.relative_to(ROOT).parts[0].removesuffix(".py")
    above = set(LAYERS[LAYERS.index(layer) + 1 :])
    assert above.isdisjoint(name for name, _ in imports(path))


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_each_library_is_imported_only_where_it_is_the_job(path: Path) -> None:
    parents = {str(parent) for parent in (path.relative_to(ROOT).with_suffix("") / "_").parents}
    foreign = {name for name, _ in imports(path) if name in OWNERS and parents.isdisjoint(OWNERS[name])}
    assert foreign == set()


@pytest.mark.parametrize("folder", APART)
def test_folders_of_the_worker_stand_apart(folder: str) -> None:
    shared = {path.stem for path in (ROOT / "scripts").glob("*.py")}
    paths = (ROOT / "scripts" / folder).glob("*.py")
    named = {
        node.module.split(".")[1]
        for path in paths
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("scripts.")
    }
    assert folder in named
    assert named <= shared | {folder}


@pytest.mark.parametrize("path", sorted((ROOT / "commands").glob("*.py")), ids=lambda path: path.name)
def test_commands_import_the_library_in_their_bodies(path: Path) -> None:
    standard = {"__future__", "typing", "collections", "functools", "inspect", "os", "signal", "sys"}
    standard |= {"atexit", "contextlib", "threading", "time", "types"}  # Invoke has loaded them anyway
    allowed = standard | {"invoke", "commands", "scripts"}
    checked = ast.parse(path.read_text())
    type_only = {
        name
        for node in checked.body
        if isinstance(node, ast.If)
        for inner in ast.walk(node)
        if isinstance(inner, ast.ImportFrom) and inner.module
        for name in [inner.module.partition(".")[0]]
    }
    top = {name for name, at_top in imports(path) if at_top}
    assert top - type_only <= allowed


def patterns(path: Path) -> Iterator[str]:
    """The regular expressions that are given to `re` as they stand."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(ast.Attribute(ast.Name("re")), [ast.Constant(str(pattern)), *_]):
                yield pattern


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_no_pattern_has_a_possessive_repeat_or_an_atomic_group(path: Path) -> None:
    """The Python of Debian 12, 3.11.2, goes wrong with them; newer ones do not."""
    assert [pattern for pattern in patterns(path) if re.search(r"[*+?}]\+|\(\?>", pattern)] == []


def test_no_module_of_the_worker_has_a_name_of_the_standard_library() -> None:
    names = {path.stem for path in (ROOT / "scripts").glob("*.py")} - {"__init__", "__main__"}
    assert names.isdisjoint(sys.stdlib_module_names)


def test_components_hold_no_python_package_and_no_second_tasks_file() -> None:
    assert list((ROOT / "components").rglob("__init__.py")) == []
    outside = [path for path in ROOT.rglob("tasks.py") if ".venv" not in path.parts]
    assert outside == [ROOT / "tasks.py"]
