"""From what is sent to a definition in the stand-in for Marathon: types, old fields, defaults, rules."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.standin.answers import Refused
from tests.standin.canonical import canonical
from tests.standin.service_ports import service_ports, with_service_ports
from tests.standin.typecheck import check_types, prune
from tests.standin.validation import validate

IMAGE = {"docker": {"image": "x"}}
PORTS = "Health check port indices must address an element of the ports array or container port mappings."


def details(refused: Refused) -> list[dict[str, Any]]:
    return list(json.loads(refused.response.body)["details"])


@pytest.mark.parametrize(
    ("app", "path", "error"),
    [
        ({}, "/id", "error.path.missing"),
        ({"id": None}, "/id", "error.path.missing"),
        ({"id": 1}, "/id", "error.expected.jsstring"),
        ({"id": "x", "instances": "2"}, "/instances", "error.expected.jsnumber"),
        ({"id": "x", "instances": True}, "/instances", "error.expected.jsnumber"),
        ({"id": "x", "instances": 1.5}, "/instances", "error.expected.jsnumber"),
        ({"id": "x", "instances": -1}, "/instances", "error.min"),
        ({"id": "x", "env": {"A": 1}}, "/env/A", "error.expected.jsstring"),
        ({"id": "x", "env": []}, "/env", "error.expected.jsobject"),
        ({"id": "x", "constraints": [["hostname", 1]]}, "/constraints(0)(1)", "error.expected.jsstring"),
        ({"id": "x", "container": {"docker": {}}}, "/container/docker/image", "error.path.missing"),
        ({"id": "x", "networks": [{"mode": "bridge"}]}, "/networks(0)/mode", "error.unknown.enum.literal"),
        (
            {"id": "x", "upgradeStrategy": {"maximumOverCapacity": 2}},
            "/upgradeStrategy/maximumOverCapacity",
            "error.max",
        ),
        ([], "/", "error.expected.jsobject"),
    ],
)
def test_a_wrong_type_is_told_with_its_path(app: Any, path: str, error: str) -> None:
    with pytest.raises(Refused) as told:
        check_types(app, 422)
    assert details(told.value) == [{"path": path, "errors": [error]}]


def test_unknown_fields_are_dropped() -> None:
    sent = {"id": "x", "colour": 1, "tasksRunning": 2, "container": {"docker": {"image": "x", "colour": 1}}}
    assert prune(sent) == {"id": "x", "container": {"docker": {"image": "x"}}}


@pytest.mark.parametrize(
    ("app", "path", "error"),
    [
        ({"id": "my_queue"}, "/id", "must fully match regular expression"),
        ({"id": "A"}, "/id", "must fully match regular expression"),
        ({"id": "-a"}, "/id", "must fully match regular expression"),
        ({"id": "/a/restart"}, "/id", "must not end in"),
        ({"id": "/"}, "/", "must not be root"),
        ({"cmd": None}, "/", "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'."),
        ({"args": ["a"]}, "/", "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'."),
        ({"cmd": "x"}, "/", "must not be an empty string"),
        ({"container": {"docker": {"image": ""}}}, "/container/docker/image", "must not be empty"),
        (
            {"container": IMAGE | {"volumes": [{"containerPath": "/a", "mode": "RW"}]}},
            "/container/volumes(0)/hostPath", "must not be empty",
        ),
        (
            {"container": IMAGE | {"portMappings": [{"containerPort": 1}]}},
            "/", "portMappings are not allowed with host-networking",
        ),
        (
            {"networks": [{"mode": "container/bridge"}], "portDefinitions": [{}]},
            "/", "portDefinitions are only allowed with host-networking",
        ),
        ({"networks": [{}]}, "/networks", "Network name must be specified when container network is selected."),
        ({"portDefinitions": [{"name": "a"}, {"name": "a"}]}, "/portDefinitions", "Port names must be unique."),
        ({"portDefinitions": [{"port": 1}, {"port": 1}]}, "/portDefinitions", "Ports must be unique."),
        ({"constraints": [["hostname"]]}, "/constraints(0)", "Each constraint must have either 2 or 3 fields"),
        ({"constraints": [["hostname", "NEAR"]]}, "/constraints(0)", "operator must be one of the following"),
        ({"constraints": [["hostname", "UNIQUE", "x"]]}, "/constraints(0)", "UNIQUE does not accept a value"),
        ({"constraints": [["hostname", "MAX_PER", "x"]]}, "/constraints(0)", "MAX_PER requires an integer value"),
        ({"constraints": [["hostname", "LIKE", "["]]}, "/constraints(0)", "is not a valid regular expression"),
        ({"constraints": [["hostname", "LIKE"]]}, "/constraints(0)", "LIKE and UNLIKE require a non-empty"),
        ({"healthChecks": [{"portIndex": 1}]}, "/healthChecks(0)", PORTS),
        ({"portDefinitions": [], "healthChecks": [{"protocol": "TCP"}]}, "/healthChecks(0)", PORTS),
        (
            {"healthChecks": [{"protocol": "COMMAND"}, {"protocol": "MESOS_TCP"}]},
            "/", "AppDefinition can contain at most one Mesos health check",
        ),
        ({"env": {"A": {"secret": "s"}}}, "/env/A", "Feature secrets is not enabled"),
        ({"uris": ["a"], "fetch": [{"uri": "b"}]}, "/uris", "may not be set in conjunction with fetch"),
        (
            {"container": {"docker": {"image": "x", "network": "HOST"}}, "networks": [{"mode": "host"}]},
            "/", "must not specify both container.docker.network and networks",
        ),
    ],
)  # fmt: skip
def test_a_rule_that_is_broken_is_told_with_its_path(app: dict[str, Any], path: str, error: str) -> None:
    sent = {"id": "x", "cmd": "true"} | app
    with pytest.raises(Refused) as told:
        validate(canonical({key: value for key, value in sent.items() if value is not None}))
    assert [(each["path"], each["errors"][0][: len(error)]) for each in details(told.value)] == [(path, error)]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            {"container": {"docker": {"image": "x", "network": "HOST"}}},
            {"container": IMAGE, "networks": [{"mode": "host"}]},
        ),
        (
            {"container": {"docker": {"image": "x", "network": "BRIDGE", "portMappings": [{"containerPort": 1}]}}},
            {
                "container": IMAGE | {"portMappings": [{"containerPort": 1, "hostPort": 0}]},
                "networks": [{"mode": "container/bridge"}],
            },
        ),
        (
            {"container": {"docker": {"image": "x", "network": "USER"}}, "ipAddress": {"networkName": "n"}},
            {"container": IMAGE, "networks": [{"mode": "container", "name": "n"}]},
        ),
        ({"ports": [0, 80]}, {"portDefinitions": [{"port": 0}, {"port": 80}]}),
        ({"uris": ["a.tar.gz", "b"]}, {"fetch": [{"uri": "a.tar.gz"}, {"uri": "b", "extract": False}]}),
        ({"args": None, "env": None, "container": None, "ipAddress": None}, {}),
        ({"version": "2015-09-25T15:13:48.343Z", "tasksRunning": 1, "tasks": []}, {}),
        ({"env": {}, "constraints": [], "healthChecks": [], "fetch": []}, {}),
    ],
    ids=["host", "bridge", "user", "ports", "uris", "nulls", "runtime", "empty"],
)
def test_old_fields_become_new_ones(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert canonical({"id": "x"} | old) == canonical({"id": "/x"} | new)


def test_the_docker_network_none_is_a_500() -> None:
    with pytest.raises(Refused, match="unsupported docker network type None") as told:
        canonical({"id": "x", "container": {"docker": {"image": "x", "network": "NONE"}}})
    assert told.value.response.status == 500


def test_defaults_reach_into_the_parts() -> None:
    check = {"protocol": "COMMAND", "command": {"value": "true"}}
    bridge = {"networks": [{"mode": "container/bridge"}], "container": {"docker": {"image": "x"}, "portMappings": [{}]}}
    app = canonical({"id": "x", "healthChecks": [check]} | bridge)
    assert app["container"] == {
        "type": "DOCKER",
        "volumes": [],
        "docker": {"image": "x", "forcePullImage": False, "parameters": [], "privileged": False},
        "portMappings": [{"containerPort": 0, "hostPort": 0, "servicePort": 0, "labels": {}, "protocol": "tcp"}],
    }
    assert app["healthChecks"][0]["gracePeriodSeconds"] == 300
    assert "portDefinitions" not in app
    host = canonical({"id": "x", "cmd": "true"})
    assert host["portDefinitions"] == [{"port": 0, "name": "default", "labels": {}, "protocol": "tcp"}]


def test_service_ports_are_unique_and_stay() -> None:
    first = with_service_ports(canonical({"id": "a", "ports": [0, 0]}), None, [])
    assert service_ports(first) == [10000, 10001]
    second = with_service_ports(canonical({"id": "b", "ports": [0, 80]}), None, [first])
    assert service_ports(second) == [10002, 80]
    assert service_ports(with_service_ports(canonical({"id": "a", "ports": [0, 0, 0]}), first, [second])) == [
        10000, 10001, 10003,
    ]  # fmt: skip
