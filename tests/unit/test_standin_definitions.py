"""From what is sent to a definition in the stand-in for Marathon: types, defaults, rules."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.standin.answers import Refused
from tests.standin.canonical import canonical, service_ports, with_service_ports
from tests.standin.validation import check_types, prune, validate

IMAGE = {"docker": {"image": "x"}}


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
        check_types(app)
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
    ],
)  # fmt: skip
def test_a_rule_that_is_broken_is_told_with_its_path(app: dict[str, Any], path: str, error: str) -> None:
    sent = {"id": "x", "cmd": "true"} | app
    with pytest.raises(Refused) as told:
        validate(canonical({key: value for key, value in sent.items() if value is not None}))
    assert [(each["path"], each["errors"][0][: len(error)]) for each in details(told.value)] == [(path, error)]


@pytest.mark.parametrize(
    "more",
    [
        {"args": None, "env": None, "container": None},
        {"version": "2015-09-25T15:13:48.343Z", "tasksRunning": 1, "tasks": []},
        {"env": {}, "constraints": [], "healthChecks": [], "fetch": []},
    ],
    ids=["nulls", "runtime", "empty"],
)
def test_what_says_nothing_is_left_out(more: dict[str, Any]) -> None:
    assert canonical({"id": "x"} | more) == canonical({"id": "/x"})


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


def ports(*numbers: int) -> dict[str, Any]:
    return {"portDefinitions": [{"port": number} for number in numbers]}


def test_service_ports_are_unique_and_stay() -> None:
    first = with_service_ports(canonical({"id": "a"} | ports(0, 0)), None, [])
    assert service_ports(first) == [10000, 10001]
    second = with_service_ports(canonical({"id": "b"} | ports(0, 80)), None, [first])
    assert service_ports(second) == [10002, 80]
    assert service_ports(with_service_ports(canonical({"id": "a"} | ports(0, 0, 0)), first, [second])) == [
        10000, 10001, 10003,
    ]  # fmt: skip
