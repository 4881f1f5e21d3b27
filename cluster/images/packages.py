"""Debian's packages that actions need, of a component's packages.txt: checked before a build, installed in groups.

The names that were new at a build are a group, and each group is a step of its own in the Dockerfile. So one more name
is installed alone: the steps of the earlier groups are in the engine's cache.
"""

from __future__ import annotations

import difflib
import json
import re
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

from cluster.components import Component
from cluster.engine import docker_errors
from cluster.engine.errors import raised_by_sdk
from cluster.files import write_atomically
from cluster.images import base_image
from cluster.settings import ROOT
from scripts.errors import ClusterError
from scripts.one_line import visible

FILE = "packages.txt"  # in a component's folder
LABEL = "cluster.packages"  # of an image: the groups that it was built with, as JSON

KNOWN = ROOT / ".run" / f"packages-of-{base_image.SUITE}.txt"  # Debian's names, as they were read last
MOST_GROUPS = 20  # an image has 127 layers at most
_READ_S = 120
_FRESH_S = 24 * 3600

_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_END = "/"  # no name of a package
_LIST = f"apt-cache pkgnames && echo {_END}"
# A person knows a package by the name under which a program loads it.
_PREFIXES = ("r-cran-", "python3-", "r-bioc-")

Groups = tuple[tuple[str, ...], ...]


def named(path: Path) -> dict[str, int]:
    """Return the packages that a file names, each with its line: a name a line, or several; `#` begins a comment."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ClusterError(f"{path}: it cannot be read: {error}") from error
    return {
        word: number for number, line in reversed([*enumerate(lines, 1)]) for word in line.partition("#")[0].split()
    }


def grouped(wanted: Collection[str], earlier: Iterable[Groups]) -> Groups:
    """Return the groups in which to install what is wanted: most of it as at an earlier build, and what is new."""
    kept = max((_kept(wanted, groups) for groups in earlier), key=lambda groups: len(_names(groups)), default=())
    new = tuple(sorted(set(wanted) - _names(kept)))
    if new and len(kept) >= MOST_GROUPS:
        return (tuple(sorted(wanted)),)
    return (*kept, new) if new else kept


def _kept(wanted: Collection[str], groups: Groups) -> Groups:
    return tuple(takewhile(lambda group: set(group) <= set(wanted), groups))


def _names(groups: Groups) -> set[str]:
    return {name for group in groups for name in group}


def dockerfile_with(text: str, groups: Groups) -> str:
    """Return a Dockerfile with a step for each group in the place that a comment on packages.txt shows."""
    lines = text.splitlines(keepends=True)
    place = next((number for number, line in enumerate(lines, 1) if line.startswith(f"# {FILE}")), 0)
    if not place:
        raise ClusterError(
            f"the Dockerfile beside {FILE} has no line that begins with `# {FILE}`: write it where packages are to be "
            "installed, after what changes seldom"
        )
    return "".join([*lines[:place], *map(_step, groups), *lines[place:]])


def _step(group: tuple[str, ...]) -> str:
    """Return the step that installs a group, by the lists of packages that are in the image while they serve."""
    install = f"apt-get install --yes --no-install-recommends {' '.join(group)}"
    return f"RUN {install} || {{ apt-get update && {install}; }} && apt-get clean\n"


@contextmanager
def checked(
    client: Any, component: Component, say: Callable[[str], None], env: Mapping[str, str]
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the place of a component's Dockerfile, with its packages in groups, and the label that tells of these.

    `env` has this machine's proxies.

    Raises:
        ClusterError: Debian has no such package.
    """
    wanted = named(component.folder / FILE)
    earlier = _earlier(client) if wanted else []
    if new := {name: line for name, line in wanted.items() if name not in set().union(*map(_names, earlier))}:
        _refuse_unknown(client, component, new, say, env)
    groups = grouped(wanted, earlier)
    if not groups:
        yield str(component.dockerfile), {}
        return
    with tempfile.NamedTemporaryFile("w", prefix="Dockerfile-", encoding="utf-8") as file:
        file.write(dockerfile_with(component.dockerfile.read_text(encoding="utf-8"), groups))
        file.flush()
        yield file.name, {LABEL: json.dumps(groups)}


def _earlier(client: Any) -> list[Groups]:
    """Return the groups of each image that was built here with any."""
    with docker_errors("look for earlier images"):
        labels = [image.labels[LABEL] for image in client.images.list(filters={"label": LABEL})]
    return [groups for groups in map(_read_label, labels) if all(map(_NAME.fullmatch, _names(groups)))]


def _read_label(label: str) -> Groups:
    try:
        return tuple(tuple(map(str, group)) for group in json.loads(label))
    except (ValueError, TypeError):
        return ()


def _refuse_unknown(
    client: Any, component: Component, lines: Mapping[str, int], say: Callable[[str], None], env: Mapping[str, str]
) -> None:
    """Refuse names that Debian has not, with the nearest that it has; a mirror that is away hinders no build here."""
    known = _names_for(client, component, set(lines), say, env)
    unknown = [
        name
        for name in sorted(lines, key=lines.__getitem__)
        if not _NAME.fullmatch(name) or (known and name not in known)
    ]
    if unknown:
        path = component.folder / FILE
        shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        places = ", ".join(f"{visible(name)} (line {lines[name]}{_hint(name, known)})" for name in unknown)
        raise ClusterError(f"{shown}: Debian {base_image.SUITE} has no package {places}")


def _names_for(
    client: Any, component: Component, wanted: set[str], say: Callable[[str], None], env: Mapping[str, str]
) -> set[str]:
    """Return the names of Debian's packages: as the last image has them where these are among them, else as of now."""
    known, is_fresh = _kept_names()
    if wanted <= known or is_fresh:
        return known
    say("reading the names of Debian's packages")
    title = f"org.opencontainers.image.title={component.name}"
    with docker_errors("look for earlier images"):
        built = client.images.list(filters={"label": title})[:1]
    if built and wanted <= (found := _printed_names(client, built[0].id, _LIST, env)):
        return found
    if found := _printed_names(client, base_image.NAME, f"apt-get update >&2 && {_LIST}", env):
        write_atomically(KNOWN, "\n".join(sorted(found)).encode())
    return found


def _hint(name: str, known: Collection[str]) -> str:
    near = nearest(name, known)
    return f"; did you mean {' or '.join(near)}?" if near else ""


# A name that was mistyped is so much longer or shorter than it is, and so like it, by difflib's measure.
_LONGER = 2
_MISTYPED = 0.9


def nearest(name: str, known: Collection[str]) -> list[str]:
    """Return the packages that a person may have meant: those of the very name, for R or Python, else the likeliest."""
    name = re.sub(r"[^a-z0-9.+-]+", "-", name.lower())
    prefix, bare = _parts(name)
    if same := [one for each in ("", *_PREFIXES) if (one := each + bare) in known]:
        return same
    # One whose prefix is mistyped, which those below would take for a part of the name.
    of_a_kind = [one for one in known if _parts(one)[0] and abs(len(one) - len(name)) <= _LONGER]
    if mistyped := difflib.get_close_matches(name, of_a_kind, 1, _MISTYPED):
        return mistyped
    alike: dict[str, list[str]] = {}
    for one in known:
        its_prefix, its_bare = _parts(one)
        if its_bare[:1] == bare[:1] and prefix in ("", its_prefix):
            alike.setdefault(its_bare, []).append(one)
    return [one for match in difflib.get_close_matches(bare, alike, 1) for one in sorted(alike[match])]


def _parts(name: str) -> tuple[str, str]:
    prefix = next((one for one in _PREFIXES if name.startswith(one)), "")
    return prefix, name.removeprefix(prefix)


def _kept_names() -> tuple[set[str], bool]:
    """Return the names that were read before, and True when that was within a day."""
    try:
        return set(KNOWN.read_text(encoding="utf-8").split()), time.time() - KNOWN.stat().st_mtime < _FRESH_S
    except (OSError, UnicodeDecodeError):
        return set(), False


def _printed_names(client: Any, image: str, command: str, env: Mapping[str, str]) -> set[str]:
    """Return the names that a command prints in a container of an image; none where it cannot."""
    shell = {"entrypoint": ["/bin/sh", "-c", command], "user": "root", "environment": dict(env)}
    try:
        container = client.containers.create(image, [], use_config_proxy=True, **shell)
        try:
            container.start()
            container.wait(timeout=_READ_S)
            *names, last = container.logs(stdout=True, stderr=False).decode().split() or [""]
        finally:
            container.remove(force=True, v=True)
    except raised_by_sdk():
        return set()
    return set(names) if last == _END else set()
