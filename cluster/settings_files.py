"""The places of settings: invoke.yaml, the files of the machine and of the person, the environment, a file of -f.

Each may give a part of them, and counts more than those before it. Invoke reads none of them: it would take whatever
any of its files says, such as names without dashes, for itself, and leave out what it does not know.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from cluster.settings import KEYS, ROOT, SECTIONS, Settings
from scripts.errors import ClusterError
from scripts.one_line import one_line

Say = Callable[[str], None]

_KNOWN = (*KEYS, *SECTIONS)
_PREFIX = "INVOKE_"
_VARIABLES = {_PREFIX + key.upper().replace(".", "_"): key for key in KEYS}
# What Invoke has in its own files and variables.
_INVOKES = ("run", "runners", "sudo", "tasks", "timeouts")
_FILE_VARIABLE = "INVOKE_RUNTIME_CONFIG"
_INVOKES_VARIABLES = (*(f"{_PREFIX}{key.upper()}_" for key in _INVOKES), "INVOKE_DEBUG", _FILE_VARIABLE)


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice, of which YAML's own would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key.value, str) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is given twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def read(environ: Mapping[str, str], file: str | None, say: Say, root: Path = ROOT, etc: Path = Path("/etc")) -> Any:
    """Return the checked settings as a tree, as invoke.yaml has them; `file` is that of -f."""
    values: dict[str, Any] = {}
    places: dict[str, str] = {}
    for place, found in _layers(environ, file, say, root, etc):
        values |= found
        places |= dict.fromkeys(found, place)
    tree: dict[str, Any] = {}
    for key in KEYS:
        if key not in values:
            raise ClusterError(
                f"{key} is missing in {root / 'invoke.yaml'}: `git diff invoke.yaml` shows what was there"
            )
        section, _, name = key.rpartition(".")
        (tree.setdefault(section, {}) if section else tree)[name] = values[key]
    Settings.read(tree, places)
    return tree


def _layers(
    environ: Mapping[str, str], file: str | None, say: Say, root: Path, etc: Path
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each place and what it gives, by key; later ones count more."""
    home = Path(environ.get("HOME") or "~").expanduser()
    for path, tell in [
        (_found(root, "invoke", say), None),
        (_found(etc, "invoke", say), say),
        (_found(home, ".invoke", say), say),
    ]:
        if path:
            yield str(path), dict(_by_key(path, tell))
    for name, value in environ.items():
        if name in _VARIABLES:
            yield name, {_VARIABLES[name]: value}
        elif name.startswith(_PREFIX) and not name.startswith(_INVOKES_VARIABLES):
            _unknown_variable(name, say)
    named = environ.get(_FILE_VARIABLE) if file is None else file
    if named is not None:
        if not os.access(named, os.F_OK):
            flag = _FILE_VARIABLE if file is None else "-f"
            raise ClusterError(
                f"{flag} {named!r}: no such file: give one with settings as in invoke.yaml, or leave it out"
            )
        yield named, dict(_by_key(Path(named), None))


def _found(folder: Path, stem: str, say: Say) -> Path | None:
    """Return the file of this name, which may have any ending of Invoke's but Python's."""
    paths = [folder / f"{stem}.{ending}" for ending in ("yaml", "yml", "json", "py")]
    there = [path for path in paths if os.access(path, os.F_OK)]  # Path.exists raises where we may not look
    taken = there[0] if there and there[0].suffix != ".py" else None
    for path in there:
        if path != taken:
            say(f"{path} is not read: {f'{taken} is' if taken else 'settings are written as YAML'}")
    return taken


def _content(path: Path) -> Mapping[Any, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise ClusterError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ClusterError(f"{path}: it is not text in UTF-8") from error
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ClusterError(f"{path}{line}: it is not YAML: {one_line(error.problem or error.context)}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ClusterError(f"{path}: it is not YAML: {one_line(error)}") from error
    if not isinstance(content, Mapping | None):
        raise ClusterError(
            f"{path}: {_shown(content)} is no settings: write them as in invoke.yaml, a line each, key: value"
        )
    return content or {}


def _by_key(path: Path, say: Say | None) -> Iterator[tuple[str, Any]]:
    """Yield what a file gives by key, such as `queue.port`; where others may have keys in it, `say` tells of them."""
    for name, value in _content(path).items():
        if name in SECTIONS:
            yield from _of_section(name, value, path)
        elif name in KEYS:
            yield name, value
        elif say is None:
            raise _no_setting(str(name), f"in {path}")
        elif name not in _INVOKES and get_close_matches(str(name), [*SECTIONS, *KEYS], cutoff=0.8):
            say(f"{name} in {path} is no setting{_nearest(str(name))}: not read")


def _of_section(section: str, content: Any, path: Path) -> Iterator[tuple[str, Any]]:
    if not isinstance(content, Mapping | None):
        first = next(key for key in KEYS if key.startswith(f"{section}."))
        raise ClusterError(f"{section}: {_shown(content)} in {path}: it has keys of its own, such as {first}")
    for name, value in (content or {}).items():
        key = f"{section}.{name}"
        if key not in KEYS:
            raise _no_setting(key, f"in {path}")
        yield key, value


def _unknown_variable(name: str, say: Say) -> None:
    """Refuse what was meant for us; another program that is made with Invoke has such variables, too."""
    sections = tuple(f"{_PREFIX}{section.upper()}_" for section in SECTIONS)
    if _nearest(name, tuple(_VARIABLES)) or name.startswith(sections):
        raise _no_setting(name, "in the environment", tuple(_VARIABLES))
    say(f"{name} in the environment is no setting: not read")


def _no_setting(name: str, place: str, known: tuple[str, ...] = _KNOWN) -> ClusterError:
    return ClusterError(f"{name} {place} is no setting{_nearest(name, known)}: invoke.yaml has them all")


def _nearest(word: str, known: tuple[str, ...] = _KNOWN) -> str:
    """Return a hint at what was meant: a key whose last part this is, else one that is like it."""
    last = word.removeprefix(_PREFIX)
    ends = [key for key in known if key.endswith((f".{last}", f"_{last}"))]
    found = ends or get_close_matches(word, known, n=1, cutoff=0.8)
    return f" (do you mean {found[0]}?)" if found else ""


def _shown(value: Any) -> str:
    return one_line(repr(value), 80)
