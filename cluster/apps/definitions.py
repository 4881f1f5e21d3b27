"""App definitions: Marathon's JSON, whose `{{NAME}}` placeholders are filled inside strings.

The JSON is parsed first and filled after, and where a shell reads the string every value is quoted for it. So
no value can break the JSON or the shell, and no value is looked at again for placeholders.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.errors import ClusterError

PLACEHOLDERS = ("IMAGE", "TAG", "HOST_PORT", "BROKER", "QUEUE", "ACTION", "OPTIONS", "QUEUE_HOST")

Value = str | Sequence[str]

_PLACEHOLDER = re.compile(r"\{\{(\s*[A-Za-z_]\w*\s*)\}\}")

# Shell text after which a quoted word stands for itself: no open quote, backtick, comment, $(( or here-document.
# (No possessive repeat, which would say it better: Debian 12's Python, 3.11.2, goes wrong with them.)
_UNQUOTED_SHELL = re.compile(
    r"""(?: [^'"`\\\#$<] | \\. | '[^']*' | "(?:[^"\\]|\\.)*" | `(?:[^`\\]|\\.)*`
          | (?<=[^\s;&|()]) \#  |  \$(?!\(\() | <(?!<) )*""",
    re.VERBOSE | re.DOTALL,
)


def load(path: Path) -> dict[str, Any]:
    """Read an app definition.

    Raises:
        ClusterError: no such file, or not a JSON object, with line and column.
    """
    try:
        definition = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ClusterError(f"{path}, line {error.lineno}, column {error.colno}: not JSON: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise ClusterError(f"{path}: not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise ClusterError(f"{path}: {error.strerror}") from error
    except (RecursionError, ValueError) as error:
        raise ClusterError(
            f"{path}: not an app definition: lists in lists, or a number, of no sensible size"
        ) from error
    if not isinstance(definition, dict):
        raise ClusterError(f"{path}: an app definition is a JSON object, {{...}}")
    return definition


def fill(definition: dict[str, Any], values: Mapping[str, Value], source: str | Path = "definition") -> dict[str, Any]:
    """The definition with the placeholders in its strings replaced; keys and numbers stay.

    In `cmd` and in the command of a health check a value is quoted for the shell, a list as several words.
    Elsewhere a value is taken as it is, a list as the words of a command line. `source` is for the errors.

    Raises:
        ClusterError: a placeholder that is unknown, has no value here or stands where quoting cannot work.
    """
    filled = _filled(definition, values, source, ())
    assert isinstance(filled, dict)
    return filled


def _filled(node: Any, values: Mapping[str, Value], source: str | Path, path: tuple[str | int, ...]) -> Any:
    if isinstance(node, dict):
        return {key: _filled(child, values, source, (*path, key)) for key, child in node.items()}
    if isinstance(node, list):
        return [_filled(child, values, source, (*path, index)) for index, child in enumerate(node)]
    if not isinstance(node, str):
        return node
    place = f"{source}: {dotted(path)}"
    if path == ("cmd",) or path[-2:] == ("command", "value"):
        return _PLACEHOLDER.sub(lambda match: _quoted(match, values, place), node)
    return _PLACEHOLDER.sub(lambda match: _plain(_value(match, values, place)), node)


def _quoted(match: re.Match[str], values: Mapping[str, Value], place: str) -> str:
    value = _value(match, values, place)
    if not _UNQUOTED_SHELL.fullmatch(match.string, 0, match.start()):
        raise ClusterError(
            f"{place}: {match[0]} stands inside quotes, a comment, $(( )) or a here-document; "
            "write it bare, it is quoted for the shell when it is filled in"
        )
    return shlex.quote(value) if isinstance(value, str) else shlex.join(value)


def _plain(value: Value) -> str:
    return value if isinstance(value, str) else shlex.join(value)


def _value(match: re.Match[str], values: Mapping[str, Value], place: str) -> Value:
    name = match[1]
    if name not in PLACEHOLDERS:
        known = ", ".join(f"{{{{{known}}}}}" for known in PLACEHOLDERS)
        raise ClusterError(f"{place}: {match[0]} is not a placeholder; those are {known}")
    if name not in values:
        raise ClusterError(f"{place}: {match[0]} has no value here; take it out of the definition")
    value = values[name]
    if "\0" in "".join(value):
        raise ClusterError(f"{place}: the value of {match[0]} has a NUL byte, which no command line can carry")
    return value


def dotted(path: Sequence[str | int]) -> str:
    """A place in a definition for people: `container.portMappings[0].hostPort`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def digest(definition: Mapping[str, Any]) -> str:
    """SHA-256 of the definition, in hex; `instances` is left out, so that scaling is not another definition."""
    kept = {key: value for key, value in definition.items() if key != "instances"}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def worker_id(queue: str) -> str:
    """The app id of a queue's workers, `/worker-<slug>`; several queues can have the same slug.

    Raises:
        ClusterError: the name has nothing that an app id can hold.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", queue.lower()).strip("-")
    if not slug:
        raise ClusterError(f"queue {queue!r}: no app id can be made of this name; give one with --app")
    return f"/worker-{slug}"


def refuse_other_queue(running_id: str, present: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Let nobody replace the workers of another queue whose name has the same slug.

    Args:
        present: the definition that runs under the id; its env QUEUE_NAME has the queue's true name.
        wanted: the definition that shall take its place.

    Raises:
        ClusterError: they serve two queues.
    """
    old, new = (str((definition.get("env") or {}).get("QUEUE_NAME", "")) for definition in (present, wanted))
    if old != new:
        raise ClusterError(
            f"{running_id} runs for {_named(old)}, not for {_named(new)}; give this app an id of its own with --app"
        )


def _named(queue: str) -> str:
    return f"queue {queue!r}" if queue else "no queue"
