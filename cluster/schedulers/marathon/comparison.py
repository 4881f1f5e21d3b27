"""Differences that a deploy would make: a definition beside what Marathon has, its own additions left aside.

The defaults are those of Marathon's RAML types (app.raml, appContainer.raml, healthCheck.raml) from 1.5 to 1.10.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.apps.app import AppSpec
from cluster.apps.definitions import RUNTIME, read
from cluster.apps.differences import differences as differences_of

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


def differences(present: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return what is not as wanted, a line each: `mem: 512 -> 1024`."""
    found, sent = ({key: app[key] for key in app if key not in RUNTIME} for app in (present, wanted))
    return list(differences_of(found, sent, _is_equal))


def is_same(present: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return whether both are one configuration, however many instances."""
    return not differences({**present, "instances": 1}, {**wanted, "instances": 1})


def app_of(answer: Mapping[str, Any]) -> AppSpec:
    """Return the app of an answer; its definition is as it can be sent again."""
    return read({key: value for key, value in answer.items() if key not in RUNTIME and value is not None})


def _is_equal(present: Any, wanted: Any, path: tuple[str | int, ...]) -> bool:
    rule = "".join("[]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")
    if rule in _CHOSEN and wanted in (None, 0):
        return True
    return bool(_said(present, rule) == _said(wanted, rule))


def _said(value: Any, rule: str) -> Any:
    """Return the value, None where it says no more than what is missing."""
    return None if value in ("", [], {}, *_DEFAULTS.get(rule, ())) else value
