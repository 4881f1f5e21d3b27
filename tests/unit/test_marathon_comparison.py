"""What a deploy would change, Marathon's own additions and defaults left aside, and what Marathon refuses of it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from cluster.apps import definitions
from cluster.components import QUEUE, REGISTRY, WORKER
from cluster.schedulers.marathon.api import details
from cluster.schedulers.marathon.definition import app_of, differences, is_same

# What Marathon 1.10 answers for `{"id": "/worker", "cmd": ..., "cpus": 0.5, "mem": 64, ...}` (AppConversion.scala).
ANSWER: dict[str, Any] = {
    "id": "/worker", "backoffFactor": 1.15, "backoffSeconds": 1, "cmd": "python worker.py",
    "container": {
        "type": "DOCKER",
        "docker": {"forcePullImage": False, "image": "reg:5000/worker:1", "parameters": [], "privileged": False},
        "volumes": [],
        "portMappings": [
            {
                "containerPort": 8080, "hostPort": 0, "labels": {}, "name": "http", "protocol": "tcp",
                "servicePort": 10023,
            }
        ],
    },
    "cpus": 0.5, "disk": 0, "executor": "", "instances": 1, "labels": {}, "maxLaunchDelaySeconds": 300, "mem": 64,
    "gpus": 0, "networks": [{"mode": "container/bridge"}], "requirePorts": False,
    "upgradeStrategy": {"maximumOverCapacity": 1, "minimumHealthCapacity": 1}, "version": "2020-01-01T00:00:00.000Z",
    "killSelection": "YOUNGEST_FIRST", "unreachableStrategy": {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0},
    "role": "*", "tasksStaged": 0, "tasksRunning": 1, "tasksHealthy": 0, "tasksUnhealthy": 0,
    "deployments": [{"id": "5ed4"}], "versionInfo": {"lastScalingAt": "2020-01-01T00:00:00.000Z"}, "tasks": [{}],
    "lastTaskFailure": {"message": "x"}, "somethingNew": [],
}  # fmt: skip

SENT: dict[str, Any] = {
    "id": "/worker", "cmd": "python worker.py", "cpus": 0.5, "mem": 64, "networks": [{"mode": "container/bridge"}],
    "container": {
        "docker": {"image": "reg:5000/worker:1"},
        "portMappings": [{"containerPort": 8080, "name": "http"}],
    },
}  # fmt: skip


def test_what_marathon_adds_is_no_difference() -> None:
    assert differences(ANSWER, SENT) == []


def test_what_1_5_adds_is_no_difference() -> None:
    answer = ANSWER | {
        "maxLaunchDelaySeconds": 3600,
        "unreachableStrategy": {"inactiveAfterSeconds": 300, "expungeAfterSeconds": 600},
        "acceptedResourceRoles": ["*"],
        "args": None,
        "user": None,
    }
    assert differences(answer, SENT) == []


@pytest.mark.parametrize("component", [QUEUE, WORKER, REGISTRY], ids=lambda component: component.name)
def test_our_definitions_with_the_defaults_of_marathon_are_as_they_were_sent(component: Any) -> None:
    sent = definitions.load(component.definition)
    answer = deepcopy(ANSWER | {"cmd": None, "container": None, "networks": None} | sent)
    answer["container"]["docker"] |= {"forcePullImage": False, "privileged": False}
    for mapping in answer["container"].get("portMappings", []):
        mapping |= {"servicePort": 10001, "labels": {}}
    for check in answer["healthChecks"]:
        check |= {"delaySeconds": 15}
    assert differences(answer, sent) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"mem": 128}, "mem: 64 -> 128"),
        ({"mem": 256}, "mem: 64 -> 256"),
        ({"instances": 3}, "instances: 1 -> 3"),
        ({"env": {"A": 'b "c" $(d)'}}, r'env.A: nothing -> "b \"c\" $(d)"'),
        ({"constraints": [["hostname", "UNIQUE"]]}, 'constraints: nothing -> [["hostname", "UNIQUE"]]'),
        ({"unreachableStrategy": "disabled"}, "unreachableStrategy: {"),
        ({"upgradeStrategy": {"minimumHealthCapacity": 0}}, "upgradeStrategy.minimumHealthCapacity: 1 -> 0"),
        ({"taskKillGracePeriodSeconds": 5}, "taskKillGracePeriodSeconds: nothing -> 5"),
        ({"cmd": None}, 'cmd: "python worker.py" -> nothing'),
    ],
    ids=str,
)
def test_what_differs_is_told(change: dict[str, Any], line: str) -> None:
    (found,) = differences(ANSWER, SENT | change)
    assert found.startswith(line)


def test_a_key_that_marathon_has_and_the_file_has_not_is_told() -> None:
    answer = ANSWER | {"env": {"A": "1"}, "user": "root"}
    assert differences(answer, SENT) == ['env.A: "1" -> nothing', 'user: "root" -> nothing']


def test_inside_lists_the_place_is_told() -> None:
    sent = deepcopy(SENT)
    sent["container"]["portMappings"][0] |= {"hostPort": 80, "servicePort": 7}
    assert differences(ANSWER, sent) == [
        "container.portMappings[0].hostPort: 0 -> 80",
        "container.portMappings[0].servicePort: 10023 -> 7",
    ]
    del sent["container"]["portMappings"]
    (line,) = differences(ANSWER, sent)
    assert line.startswith("container.portMappings: [{")
    assert line.endswith(" -> nothing")


def test_a_long_value_is_cut_and_on_one_line() -> None:
    (line,) = differences(ANSWER, SENT | {"cmd": "x\n" * 1000})
    assert len(line) < 300
    assert "\n" not in line


def test_another_number_of_instances_is_the_same_configuration() -> None:
    assert is_same(ANSWER, SENT | {"instances": 9})
    assert not is_same(ANSWER, SENT | {"mem": 65, "instances": 9})


def test_an_answer_can_be_sent_again() -> None:
    again = app_of(ANSWER | {"user": None}).native
    assert {"version", "tasks", "versionInfo", "deployments", "user"}.isdisjoint(again)
    assert differences(ANSWER, again) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"message": "requirement failed"}, ""),
        ({"message": "Invalid JSON", "details": "Unexpected character\n('}')"}, ": Unexpected character ('}')"),
        ({"details": [{"path": "/id", "errors": ["error.expected.jsstring"]}]}, ": /id: error.expected.jsstring"),
        (
            {"details": [{"path": "/mem", "errors": ["is too small", "is odd"]}, {"path": "/cpus", "errors": ["x"]}]},
            ": /cpus: x; /mem: is too small, is odd",
        ),
        ({"details": None}, ""),
        ({"details": [None, {"path": "/a", "errors": None}]}, ": /a:"),
    ],
    ids=str,
)
def test_every_field_is_told(content: dict[str, Any], words: str) -> None:
    assert details(content) == words
