"""App definitions: Marathon's JSON, whose `{{NAME}}` placeholders are filled inside strings.

The JSON is parsed first and filled after, and where a shell reads the string every value is quoted for it. So
no value can break the JSON or the shell, and no value is looked at again for placeholders.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster.apps.app import AppSpec, HealthCheck, Port, Volume, dotted
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
    """Read an app definition; what is no JSON object is an error with its line and column."""
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
    """Return the definition with the placeholders in its strings replaced; keys and numbers stay.

    In `cmd` and in the command of a health check a value is quoted for the shell, a list as several words.
    Elsewhere a value is taken as it is, a list as the words of a command line. `source` is for the errors:
    of a placeholder that is unknown, has no value here or stands where quoting cannot work.
    """
    return {key: _filled(child, values, source, (key,)) for key, child in definition.items()}


def _filled(node: Any, values: Mapping[str, Value], source: str | Path, path: tuple[str | int, ...]) -> Any:
    if isinstance(node, dict):
        return {key: _filled(child, values, source, (*path, key)) for key, child in node.items()}
    if isinstance(node, list):
        return [_filled(child, values, source, (*path, index)) for index, child in enumerate(node)]
    if not isinstance(node, str):
        return node
    place = f"{source}: {dotted(path)}"
    is_for_shell = path == ("cmd",) or path[-2:] == ("command", "value")

    def text(match: re.Match[str]) -> str:
        value = _value(match, values, place)
        if is_for_shell and not _UNQUOTED_SHELL.fullmatch(match.string, 0, match.start()):
            raise ClusterError(
                f"{place}: {match[0]} stands inside quotes, a comment, $(( )) or a here-document; "
                "write it bare, it is quoted for the shell when it is filled in"
            )
        if not isinstance(value, str):
            return shlex.join(value)
        return shlex.quote(value) if is_for_shell else value

    return _PLACEHOLDER.sub(text, node)


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


# What Marathon adds to its answer when it is asked for an app.
RUNTIME = frozenset({
    "deployments", "lastTaskFailure", "readinessCheckResults", "tasks", "tasksHealthy", "tasksRunning", "tasksStaged",
    "tasksStats", "tasksUnhealthy", "version", "versionInfo",
})  # fmt: skip

# Which agent to choose, how to try again and how to replace: an engine that has no such choice does its own best, and
# the app does the same. All other keys that an AppSpec cannot hold change what the app is.
_CHOICES = frozenset({
    "acceptedResourceRoles", "backoffFactor", "backoffSeconds", "constraints", "container.docker.forcePullImage",
    "dependencies", "disk", "enforceGroupRole", "fetch", "killSelection", "maxLaunchDelaySeconds", "requirePorts",
    "role", "unreachableStrategy", "upgradeStrategy",
})  # fmt: skip

_BRIDGE, _HOST_NETWORK = [{"mode": "container/bridge"}], [{"mode": "host"}]
_NUMBER = (int, float)

# The numbers of a health check, by their fields of a HealthCheck.
HEALTH_KEYS = {
    "grace_s": "gracePeriodSeconds", "interval_s": "intervalSeconds", "timeout_s": "timeoutSeconds",
    "failures": "maxConsecutiveFailures",
}  # fmt: skip


def read(definition: Mapping[str, Any]) -> AppSpec:
    """Read a filled definition, Marathon's JSON of 1.5 and later; nothing in it is an error, see `AppSpec.unheld`."""
    rest: dict[str, Any] = json.loads(json.dumps({key: definition[key] for key in definition if key not in RUNTIME}))
    networks = _taken(rest, "networks", list, fits=lambda found: found in (_BRIDGE, _HOST_NETWORK))
    pins = _each_taken(rest, "constraints", read_pin)
    mapped = _each_taken(rest, "container.portMappings", read_mapped_port)
    checks = _each_taken(rest, "healthChecks", read_health_check, most=1)
    _taken(rest, "container.type", str, fits=lambda found: found == "DOCKER")
    return AppSpec(
        id=_taken(rest, "id", str, ""),
        command=_taken(rest, "cmd", str, ""),
        image=_taken(rest, "container.docker.image", str, ""),
        env=_texts_taken(rest, "env"),
        ports=(*mapped, *_each_taken(rest, "portDefinitions", read_port)),
        on_host_network=networks != _BRIDGE and not rest.get("networks"),
        volumes=_each_taken(rest, "container.volumes", read_volume),
        health=checks[0] if checks else None,
        cpus=_taken(rest, "cpus", _NUMBER, 1),
        mem_mib=_taken(rest, "mem", _NUMBER, 128),
        instances=_taken(rest, "instances", int, 1),
        kill_grace_s=_taken(rest, "taskKillGracePeriodSeconds", int, 10),
        pinned_to=pins[0] if pins else "",
        labels=_texts_taken(rest, "labels"),
        container_options=_each_taken(rest, "container.docker.parameters", read_option),
        native=definition,
        unheld=dict(_left(rest, ())),
    )


def value_at(node: Any, path: Sequence[str]) -> Any:
    """Return the value of objects in objects that stands at a path; None where there is none."""
    for key in path:
        node = node.get(key) if isinstance(node, dict) else None
    return node


def _taken(
    rest: dict[str, Any], path: str, kind: type | tuple[type, ...], default: Any = None,
    fits: Callable[[Any], bool] = lambda found: True,
) -> Any:  # fmt: skip
    """Take what stands at a path out of `rest` where it is of this kind and fits, else the default."""
    *parents, key = path.split(".")
    value = value_at(rest, [*parents, key])
    if not isinstance(value, kind) or isinstance(value, bool) or not fits(value):
        return default
    return value_at(rest, parents).pop(key)


def _texts_taken(rest: dict[str, Any], path: str) -> dict[str, str]:
    """Take the strings of an object; values of other kinds stay."""
    found = _taken(rest, path, dict, {})
    left = {key: value for key, value in found.items() if not isinstance(value, str)}
    if left:
        _put(rest, path, left)
    return {key: value for key, value in found.items() if key not in left}


def _each_taken(
    rest: dict[str, Any], path: str, read_one: Callable[[Any], Any], most: int | None = None
) -> tuple[Any, ...]:
    """Take the items that can be read out of a list at a path, the first `most`; the others stay, at their place."""
    items = _taken(rest, path, list, [])
    found = [read_one(item) if most is None or place < most else None for place, item in enumerate(items)]
    left = [None if one is not None else item for one, item in zip(found, items, strict=True)]
    if any(item is not None for item in left):
        _put(rest, path, left)
    return tuple(one for one in found if one is not None)


def _put(rest: dict[str, Any], path: str, value: Any) -> None:
    *parents, key = path.split(".")
    value_at(rest, parents)[key] = value


def _has(item: Any, **kinds: type | tuple[type, ...]) -> bool:
    """Return True for an object with no other keys than these, and values of these kinds where it has them."""
    return isinstance(item, dict) and all(
        value is None or (isinstance(value, kinds.get(key, ())) and not isinstance(value, bool))
        for key, value in item.items()
        if value not in ({}, [], ())
    )


_PORT: Mapping[str, type] = {"name": str, "protocol": str, "labels": dict}


def read_mapped_port(item: Any) -> Port | None:
    """Read an item of `portMappings`; None for one that says more than a Port."""
    kinds = {"containerPort": int, "hostPort": int, "servicePort": int}
    return _port(item, item.get("containerPort"), item.get("hostPort")) if _has(item, **_PORT, **kinds) else None


def read_port(item: Any) -> Port | None:
    """Read an item of `portDefinitions`; None for one that says more than a Port."""
    return _port(item, 0, item.get("port")) if _has(item, **_PORT, port=int) else None


def _port(item: Mapping[str, Any], container: int | None, host: int | None) -> Port:
    return Port(item.get("name") or "", container or 0, host or 0, item.get("protocol") or "tcp")


def read_volume(item: Any) -> Volume | None:
    """Read a volume of the host; None for one of another kind."""
    if not _has(item, containerPath=str, hostPath=str, mode=str) or not item.get("hostPath"):
        return None
    if item.get("mode") not in (None, "RO", "RW"):
        return None
    return Volume(item["hostPath"], item.get("containerPath") or "", item.get("mode") == "RO")


def read_option(item: Any) -> tuple[str, str] | None:
    """Read a parameter of Docker's; None for what is none."""
    return (item["key"], item["value"]) if _has(item, key=str, value=str) and len(item) == 2 else None


def read_pin(item: Any) -> str | None:
    """Read the host of a constraint that names one; None for another constraint."""
    return item[2] if isinstance(item, list) and len(item) == 3 and item[:2] == ["hostname", "CLUSTER"] else None


def read_health_check(item: Any) -> HealthCheck | None:
    """Read a check by a command; its times are Marathon's own where it is silent (healthCheck.raml)."""
    found = item.get("command") if isinstance(item, dict) and item.get("protocol") == "COMMAND" else None
    command = found.get("value") if isinstance(found, dict) else None
    if not isinstance(command, str):
        return None
    times = {name: item[key] for name, key in HEALTH_KEYS.items() if item.get(key) is not None}
    return HealthCheck(command, **times) if all(isinstance(time, _NUMBER) for time in times.values()) else None


def _left(node: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str, Any]]:
    """Yield what is left of a definition and would change what the app does, by its place."""
    if (node in (None, "", [], {}, 0) and path[:1] != ("env",)) or dotted(path) in _CHOICES:
        return
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _left(value, (*path, key))
    elif isinstance(node, list):
        yield from ((dotted((*path, index)), item) for index, item in enumerate(node) if item is not None)
    else:
        yield dotted(path), node


def worker_id(queue: str) -> str:
    """Return the app id of a queue's workers, `/worker-<slug>`; several queues can have the same slug."""
    slug = re.sub(r"[^a-z0-9]+", "-", queue.lower()).strip("-")
    if not slug:
        raise ClusterError(f"queue {queue!r}: no app id can be made of this name; give one with --app")
    return f"/worker-{slug}"


def refuse_other_queue(present: AppSpec, wanted: AppSpec) -> None:
    """Refuse to replace the workers of another queue (by their QUEUE_NAME) whose name has the same slug."""
    names = [app.env.get("QUEUE_NAME", "") for app in (present, wanted)]
    if names[0] != names[1]:
        old, new = (f"queue {name!r}" if name else "no queue" for name in names)
        raise ClusterError(f"{wanted.id} runs for {old}, not for {new}; give this app an id of its own with --app")
