"""The rules of the house: who may import whom, what stands where, and in which words."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from cluster.settings import ROOT
from scripts.__main__ import PROGRAMS as NAMES

# From the ground to the roof. A module imports from its own room and from lower floors; rooms of one floor stand apart.
FLOORS = (
    ("scripts",),
    ("scripts/action", "scripts/amqp", "scripts/marathon"),
    ("scripts/worker",),
    ("programs of scripts",),
    ("cluster",),
    ("cluster/engine",),
    ("cluster/hosts",),
    ("cluster/images", "cluster/apps"),
    ("cluster/queue",),
    ("cluster/schedulers",),
    ("cluster/registry",),
    ("cluster/operations",),
    ("commands",),
    ("tasks",),
)
TOPS = ("scripts", "cluster", "commands")
HEIGHT = {room: height for height, floor in enumerate(FLOORS) for room in floor}
PROGRAMS = {"scripts.__main__", *(f"scripts.{name}" for name in NAMES)}
ENGINES = sorted(path.parent.name for path in (ROOT / "cluster" / "schedulers").glob("*/__init__.py"))
# Each of these libraries is the job of a few rooms.
OWNERS = {
    "docker": {"cluster"},
    "fabric": {"cluster/hosts"},
    "paramiko": {"cluster/hosts"},
    "psutil": {"cluster"},
    "rich": {"cluster"},
    "pika": {"scripts/amqp", "scripts/worker", "scripts/event_loop", "cluster"},
    "requests": {"scripts/http_fetch", "cluster"},
    "invoke": {"commands", "tasks"},
}
# A docstring that begins with one of these is no sentence by which a reader knows the function.
NO_BEGINNING = {
    "What", "Whether", "Who", "Whose", "How", "Where", "Which", "When", "Why", "It", "Its", "One", "None", "All",
    "That",
}  # fmt: skip
# Names that told nobody anything, or several things; docs/design.md has those in their place.
NO_NAME = {
    "bounced", "bury", "corked", "door", "manner", "outflow", "patience", "rested", "solo", "told", "unclaimed",
    "whereabouts", "wish", "woken", "Order", "QueueThere", "queue_there",
}  # fmt: skip


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = {module_name(path): path for top in TOPS for path in (ROOT / top).rglob("*.py")} | {"tasks": ROOT / "tasks.py"}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def folder(path: Path) -> str:
    return str(path.parent.relative_to(ROOT))


def room(module: str) -> str:
    """Return the room of a module, which is a folder of the first or the second level."""
    if module in PROGRAMS:
        return "programs of scripts"
    return module if module == "tasks" else "/".join(PATHS[module].relative_to(ROOT).parts[:-1][:2])


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield each imported module, wherever the import stands, and whether it is at the module's level."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in PATHS else str(node.module) for name in inner]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "." in node.value:
            names = [node.value] if node.value in PATHS else []  # for importlib
        else:
            continue
        for name in names:
            yield name, node in tree(path).body


GRAPH = {module: {name for name, _ in imports(path) if name in PATHS} - {module} for module, path in PATHS.items()}


def test_imports_go_downwards() -> None:
    arrows = [(module, name) for module in GRAPH for name in GRAPH[module] if room(module) != room(name)]
    upwards = {(above, below) for above, below in arrows if HEIGHT[room(below)] >= HEIGHT[room(above)]}
    assert upwards == set()


def test_imports_go_in_no_circle() -> None:
    try:
        TopologicalSorter(GRAPH).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' < '.join(error.args[1])}")


def is_engines(module: str) -> bool:
    return f"{module}.".startswith("cluster.schedulers.")


def engine_of(module: str) -> str:
    return next((name for name in ENGINES if f"{module}.".startswith(f"cluster.schedulers.{name}.")), "")


def test_engines_stand_apart_and_are_known_to_their_room_alone() -> None:
    arrows = [(module, name) for module in GRAPH for name in GRAPH[module] if engine_of(name)]
    outside = [arrow for arrow in arrows if not is_engines(arrow[0])]
    assert outside == []
    across = {(engine_of(above), engine_of(below)) for above, below in arrows if engine_of(above) != engine_of(below)}
    # The table knows all engines, and a cluster's agents run containers.
    assert across <= {*(("", name) for name in ENGINES), ("marathon", "docker")}


def strings(path: Path) -> Iterator[ast.Constant]:
    """Yield the strings that are no docstrings, and not those of the table SCHEDULERS."""
    left_out: set[ast.AST] = set()
    for node in ast.walk(tree(path)):
        match node:
            case ast.Expr(ast.Constant()):
                left_out.add(node.value)
            case ast.Assign([ast.Name("SCHEDULERS")]) | ast.AnnAssign(ast.Name("SCHEDULERS")):
                left_out.update(ast.walk(node))
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in left_out:
            yield node


def test_engines_are_named_in_their_room_alone() -> None:
    keys = "cluster.settings"  # of invoke.yaml, of which some are an engine's
    inside = {module for module in PATHS if is_engines(module)} | {keys}
    outside = [path for module, path in PATHS.items() if room(module).startswith("cluster") and module not in inside]
    engine = re.compile(r"local|process|.*\b[Mm]arathon\b.*", re.DOTALL)
    found = [(folder(path), node.value) for path in outside for node in strings(path)]
    assert [each for each in found if engine.fullmatch(each[1])] == []


def test_each_library_is_imported_only_where_it_is_the_job() -> None:
    def is_at_home(path: Path, library: str) -> bool:
        parents = {str(parent) for parent in (path.relative_to(ROOT).with_suffix("") / "_").parents}
        return library not in OWNERS or not parents.isdisjoint(OWNERS[library])

    used = [(path, name.partition(".")[0]) for path in PATHS.values() for name, _ in imports(path)]
    assert [use for use in used if not is_at_home(*use)] == []


@pytest.mark.parametrize("path", sorted((ROOT / "commands").glob("*.py")), ids=lambda path: path.name)
def test_commands_import_the_library_in_their_bodies(path: Path) -> None:
    # Invoke has loaded these anyway.
    standard = {"__future__", "typing", "collections", "functools", "inspect", "os", "signal", "sys"}
    standard |= {
        "_signal",
        "atexit",
        "contextlib",
        "gc",
        "pathlib",
        "re",
        "shlex",
        "textwrap",
        "threading",
        "time",
        "types",
    }
    top = {name.partition(".")[0] for name, is_at_top in imports(path) if is_at_top}
    assert top <= standard | {"invoke", "commands", "scripts"}


def test_only_commands_and_programs_print() -> None:
    speaking = {"commands", "programs of scripts"}
    paths = [path for module, path in PATHS.items() if room(module) not in speaking]
    printing = {
        path for path in paths for node in ast.walk(tree(path)) if isinstance(node, ast.Name) and node.id == "print"
    }
    assert printing == set()


def test_no_module_only_forwards() -> None:
    def forwards(node: ast.stmt) -> bool:
        match node:
            case ast.Import() | ast.ImportFrom():
                return True
            case ast.Assign(value=ast.Name() | ast.Attribute() | ast.List()):
                return True
        return False

    bodies = {path: tree(path).body[1:] for path in PATHS.values() if ast.get_docstring(tree(path))}
    assert [path for path, body in bodies.items() if body and all(map(forwards, body))] == []


def documented(node: ast.Module | ast.ClassDef) -> Iterator[ast.Module | ast.ClassDef | ast.FunctionDef]:
    """Yield what is public: the module, its functions, its classes and their methods."""
    yield node
    for inner in node.body:
        if isinstance(inner, ast.ClassDef) and not inner.name.startswith("_"):
            yield from documented(inner)
        elif isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
            yield inner


def names(path: Path) -> Iterator[str]:
    """Yield the names that a module gives: its own, and those of what it defines and assigns."""
    yield path.stem
    for node in ast.walk(tree(path)):
        match node:
            case ast.ClassDef(name) | ast.FunctionDef(name) | ast.arg(name) | ast.Name(name, ast.Store()):
                yield name
            case ast.Attribute(attr=name, ctx=ast.Store()):
                yield name


def test_public_docstrings_begin_with_what_is_done_or_with_a_noun() -> None:
    found = [text for path in PATHS.values() for node in documented(tree(path)) if (text := ast.get_docstring(node))]
    assert [text.splitlines()[0] for text in found if text.split()[0] in NO_BEGINNING] == []


def test_names_are_plain_words() -> None:
    given = {(name, folder(path)) for path in PATHS.values() for name in names(path)}
    words = {(name, place): {word.lower() for word in re.findall(r"[A-Za-z][a-z]*", name)} for name, place in given}
    assert [name for name, found in words.items() if found & NO_NAME or name[0] in NO_NAME] == []


def test_no_pattern_has_a_possessive_repeat_or_an_atomic_group() -> None:
    """The Python of Debian 12, 3.11.2, goes wrong with them; newer ones do not."""
    calls = [node for path in PATHS.values() for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    patterns = []
    for call in calls:
        match call:
            case ast.Call(ast.Attribute(ast.Name("re")), [ast.Constant(str(pattern)), *_]):
                patterns.append(pattern)
    assert patterns
    assert [pattern for pattern in patterns if re.search(r"[*+?}]\+|\(\?>", pattern)] == []


def test_no_module_of_the_worker_has_a_name_of_the_standard_library() -> None:
    names = {path.stem for path in (ROOT / "scripts").glob("*.py")} - {"__init__", "__main__"}
    assert names.isdisjoint(sys.stdlib_module_names)


def test_components_hold_no_python_package_and_no_second_tasks_file() -> None:
    assert list((ROOT / "components").rglob("__init__.py")) == []
    outside = [path for path in ROOT.rglob("tasks.py") if ".venv" not in path.parts]
    assert outside == [ROOT / "tasks.py"]
