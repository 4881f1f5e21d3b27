"""What a deploy would change: a definition beside what Marathon has, its own additions and defaults left aside.

The defaults are those of Marathon's RAML types (app.raml, appContainer.raml, healthCheck.raml) from 1.5 to 1.10.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from cluster.apps.definitions import dotted
from scripts.one_line import one_line

# What Marathon adds to its answer when it is asked for an app.
RUNTIME = frozenset({
    "deployments", "lastTaskFailure", "readinessCheckResults", "tasks", "tasksHealthy", "tasksRunning", "tasksStaged",
    "tasksStats", "tasksUnhealthy", "version", "versionInfo",
})  # fmt: skip

# What stands there when a definition says nothing; where versions differ, all of theirs.
_DEFAULTS: Mapping[str, tuple[Any, ...]] = {
    "backoffFactor": (1.15,),
    "backoffSeconds": (1,),
    "cpus": (1,),
    "disk": (0,),
    "gpus": (0,),
    "instances": (1,),
    "killSelection": ("YOUNGEST_FIRST",),
    "maxLaunchDelaySeconds": (300, 3600),
    "mem": (128,),
    "networks": ([{"mode": "host"}],),
    "requirePorts": (False,),
    "tty": (False,),
    "unreachableStrategy.inactiveAfterSeconds": (0, 300),
    "unreachableStrategy.expungeAfterSeconds": (0, 600),
    "upgradeStrategy.maximumOverCapacity": (1,),
    "upgradeStrategy.minimumHealthCapacity": (1,),
    "container.type": ("DOCKER",),
    "container.docker.forcePullImage": (False,),
    "container.docker.privileged": (False,),
    "container.portMappings[].hostPort": (0,),
    "container.portMappings[].protocol": ("tcp",),
    "portDefinitions[].protocol": ("tcp",),
    "fetch[].cache": (False,),
    "fetch[].executable": (False,),
    "fetch[].extract": (True,),
    "healthChecks[].delaySeconds": (15,),
    "healthChecks[].gracePeriodSeconds": (300,),
    "healthChecks[].ignoreHttp1xx": (False,),
    "healthChecks[].intervalSeconds": (60,),
    "healthChecks[].ipProtocol": ("IPv4",),
    "healthChecks[].maxConsecutiveFailures": (3,),
    "healthChecks[].path": ("/",),
    "healthChecks[].protocol": ("HTTP",),
    "healthChecks[].timeoutSeconds": (20,),
}

# What Marathon chooses where a definition leaves it open, each time or by how it was started.
_CHOSEN = frozenset({
    "acceptedResourceRoles", "container.portMappings[].servicePort", "executor", "portDefinitions",
    "portDefinitions[].port", "role",
})  # fmt: skip

_LONGEST = 100


def differences(present: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """What is not as wanted, a line each: `mem: 512 -> 1024`."""
    found = {key: value for key, value in present.items() if key not in RUNTIME}
    return list(_differences(found, {key: value for key, value in wanted.items() if key not in RUNTIME}, ()))


def is_same(present: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether both are one configuration, however many instances."""
    return not differences({**present, "instances": 1}, {**wanted, "instances": 1})


def definition_of(app: Mapping[str, Any]) -> dict[str, Any]:
    """The definition in an answer of Marathon's, as it can be sent again."""
    return {key: value for key, value in app.items() if key not in RUNTIME and value is not None}


def _differences(present: Any, wanted: Any, path: tuple[str | int, ...]) -> Iterator[str]:
    if _are(dict, present, wanted):
        old, new = present or {}, wanted or {}
        for key in sorted({**old, **new}):
            yield from _differences(old.get(key), new.get(key), (*path, key))
    elif isinstance(present, list) and isinstance(wanted, list) and len(present) == len(wanted):
        for index, (old, new) in enumerate(zip(present, wanted, strict=True)):
            yield from _differences(old, new, (*path, index))
    elif not _is_equal(present, wanted, path):
        yield f"{dotted(path)}: {_shown(present)} -> {_shown(wanted)}"


def _are(kind: type, one: Any, other: Any) -> bool:
    """Whether one is of this kind, and the other too or missing."""
    return all(value is None or isinstance(value, kind) for value in (one, other)) and not (one is other is None)


def _is_equal(present: Any, wanted: Any, path: tuple[str | int, ...]) -> bool:
    rule = "".join("[]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")
    if rule in _CHOSEN and wanted in (None, 0):
        return True
    return bool(_said(present, rule) == _said(wanted, rule))


def _said(value: Any, rule: str) -> Any:
    """The value, None where it says no more than what is missing."""
    return None if value in ("", [], {}, *_DEFAULTS.get(rule, ())) else value


def _shown(value: Any) -> str:
    return "nothing" if value is None else one_line(json.dumps(value, ensure_ascii=False), _LONGEST)
