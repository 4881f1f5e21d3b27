"""Apps as Marathon's JSON: what a person wrote stays, and what an app has beyond it is written in its place."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from requests.certs import where

from cluster.apps import definitions
from cluster.apps.app import AppSpec, HealthCheck, Port, Volume
from cluster.apps.definitions import read
from cluster.components import QUEUE, REGISTRY, WORKER
from cluster.credentials import SecretFile
from cluster.schedulers.marathon.definition import definition_of, differences, with_paths
from cluster.schedulers.marathon.scheduler import broker_location
from tests.refusing import refusal

# All that an AppSpec cannot hold, in a person's own definition.
ODD: dict[str, Any] = {
    "id": "/odd",
    "args": ["a", None],
    "env": {"A": "1", "PASSWORD": {"secret": "s0"}, "N": 5, "QUEUE_NAME": "q"},
    "secrets": {"s0": {"source": "/vault/x"}},
    "labels": {"a": "1", "b": ""},
    "instances": 3,
    "cpus": 0.5,
    "constraints": [["hostname", "UNIQUE"], ["rack", "GROUP_BY", "2"], ["hostname", "CLUSTER", "agent1"]],
    "networks": [{"mode": "container", "name": "dcos"}],
    "container": {
        "type": "MESOS",
        "docker": {"image": "x:v1", "forcePullImage": True, "parameters": [{"key": "init", "value": "true"}]},
        "portMappings": [
            {"name": "web", "containerPort": 80, "hostPort": 0, "servicePort": 10080, "labels": {"VIP_0": "/x:80"}},
            {"containerPort": 53, "protocol": "udp,tcp", "networkNames": ["dcos"]},
        ],
        "volumes": [
            {"containerPath": "data", "mode": "RW", "persistent": {"size": 100}},
            {"containerPath": "/tmp", "hostPath": "/tmp"},
        ],
    },
    "healthChecks": [
        {"protocol": "HTTP", "path": "/health", "portIndex": 0},
        {"protocol": "COMMAND", "command": {"value": "true"}, "delaySeconds": 3},
    ],
    "unreachableStrategy": "disabled",
    "fetch": [{"uri": "file:///x.tgz", "extract": False}],
    "somethingNew": {"deep": [1, {"a": None}]},
    "user": None,
}


@pytest.mark.parametrize(
    "definition",
    [*(definitions.load(component.definition) for component in (QUEUE, WORKER, REGISTRY)), ODD, {}, {"id": "/x"}],
    ids=["queue", "worker", "registry", "odd", "nothing", "an id"],
)
def test_what_was_read_is_written_as_it_was(definition: dict[str, Any]) -> None:
    before = deepcopy(definition)
    if definition:
        assert definition_of(read(definition)) == before
    assert definition == before


def changed(**fields: Any) -> list[str]:
    """What differs between the odd definition and its app with other values."""
    return differences(ODD, definition_of(replace(read(ODD), **fields)))


@pytest.mark.parametrize(
    ("fields", "lines"),
    [
        ({"id": "/other"}, ['id: "/odd" -> "/other"']),
        ({"command": "exec true"}, ['cmd: nothing -> "exec true"']),
        ({"image": "x:v2"}, ['container.docker.image: "x:v1" -> "x:v2"']),
        ({"cpus": 2, "mem_mib": 512}, ["cpus: 0.5 -> 2", "mem: nothing -> 512"]),
        ({"kill_grace_s": 80}, ["taskKillGracePeriodSeconds: nothing -> 80"]),
        ({"env": {"A": "2", "B": "3"}}, ["env.A: ", "env.B: nothing", 'env.QUEUE_NAME: "q" -> nothing']),
        ({"labels": {"a": "1", "b": "", "c": "3"}}, ['labels.c: nothing -> "3"']),
        ({"container_options": (("init", "false"),)}, ["container.docker.parameters[0].value: "]),
        ({"ports": (Port("web", 80, 8080),)}, ["container.portMappings[0].hostPort: 0 -> 8080"]),
        ({"volumes": (Volume("/d", "/tmp"),)}, ["container.volumes[1].hostPath: ", "container.volumes[1].mode: "]),
        ({"health": HealthCheck("false")}, ['healthChecks[1].command.value: "true" -> "false"']),
        ({"instances": 3}, []),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_not_as_in_the_definition_is_written_in_its_place(fields: dict[str, Any], lines: list[str]) -> None:
    found = changed(**fields)
    assert len(found) == len(lines)
    assert all(line.startswith(wanted) for line, wanted in zip(found, lines, strict=True))


def test_what_comes_to_a_definition_stands_behind_what_is_there() -> None:
    app = read(ODD)
    found = definition_of(
        replace(
            app,
            volumes=(*app.volumes, Volume("/a", "/b", read_only=True)),
            container_options=(*app.container_options, ("user", "root")),
            engine_options=(("memory-swap", "1g"),),
            pinned_to="agent2",
        )
    )
    assert found["container"]["volumes"] == [
        *ODD["container"]["volumes"], {"containerPath": "/b", "hostPath": "/a", "mode": "RO"},
    ]  # fmt: skip
    parameters = [(one["key"], one["value"]) for one in found["container"]["docker"]["parameters"]]
    assert parameters == [("init", "true"), ("user", "root"), ("memory-swap", "1g")]
    assert found["constraints"] == [
        ["hostname", "UNIQUE"],
        ["rack", "GROUP_BY", "2"],
        ["hostname", "CLUSTER", "agent2"],
    ]


def test_an_app_that_was_read_from_nothing_is_a_whole_definition() -> None:
    app = AppSpec(
        "/x", "exec x", "x:v1", {"A": "1"}, (Port("web", 80, 0), Port("", 53, 0, "udp")), False,
        (Volume("/a", "/b"),), HealthCheck("true", 1, 2, 3, 4), 0.5, 64, 2, 80, pinned_to="agent1", labels={"b": "2"},
        container_options=(("init", "true"),),
    )  # fmt: skip
    found = definition_of(app)
    assert read(json.loads(json.dumps(found))) == app
    assert found["networks"] == [{"mode": "container/bridge"}]
    assert found["container"]["type"] == "DOCKER"
    alone = definition_of(AppSpec("/x", "exec x"))
    assert (alone["networks"], alone["portDefinitions"], "container" in alone) == ([{"mode": "host"}], [], False)


def test_a_limit_of_time_is_refused() -> None:
    assert "3600 s" in refusal(definition_of, AppSpec("/x", "exec x", time_limit_s=3600))
    assert "--max-instances) is 40" in refusal(definition_of, AppSpec("/x", "exec x", max_instances=40))


def test_secret_files_are_named_and_not_shown() -> None:
    secrets = (
        SecretFile("worker", "amqp-password-file", b"pl@nted", 1000, "AMQP_PASSWORD_FILE"),
        SecretFile("worker", "marathon-ca-file", b"pl@nted", 1000, "MARATHON_CA_FILE"),
        SecretFile("queue", "users.json", b"pl@nted", 900, "", "/etc/rabbitmq/conf.d"),
    )
    found = definition_of(with_paths(replace(read(ODD), secret_files=secrets), "ours"))
    assert "pl@nted" not in json.dumps(found)
    folder = "/etc/cluster/secrets/ours/worker"
    paths = {"AMQP_PASSWORD_FILE": f"{folder}/amqp-password-file", "MARATHON_CA_FILE": f"{folder}/marathon-ca-file"}
    assert found["env"] == ODD["env"] | paths
    assert found["container"]["volumes"][2:] == [
        {"containerPath": folder, "hostPath": folder, "mode": "RO"},
        {"containerPath": "/etc/rabbitmq/conf.d", "hostPath": "/etc/cluster/secrets/ours/queue", "mode": "RO"},
    ]


def test_workers_open_marathon_with_what_opens_it_here(tmp_path: Path) -> None:
    token, ca = tmp_path / "token", Path(where())
    token.write_text("to-ken")
    environ = {
        "MARATHON_USER": "m", "MARATHON_PASSWORD": "pl@nted", "DCOS_ACS_TOKEN_FILE": str(token),
        "MARATHON_CA_FILE": str(ca),
    }  # fmt: skip
    found = broker_location("a:8080,b:8080", "/amqp", environ)
    assert (found.words, found.env) == (("-m", "a:8080,b:8080", "-a", "/amqp"), {"MARATHON_USER": "m"})
    assert "pl@nted" not in repr(found)
    assert [(one.group, one.name, one.env, one.content, one.owner) for one in found.secret_files] == [
        ("worker", "marathon-password-file", "MARATHON_PASSWORD_FILE", b"pl@nted\n", 1000),
        ("worker", "dcos-acs-token-file", "DCOS_ACS_TOKEN_FILE", b"to-ken\n", 1000),
        ("worker", "marathon-ca-file", "MARATHON_CA_FILE", ca.read_bytes(), 1000),
    ]
    assert broker_location("a:8080", "/amqp", {}).secret_files == ()
    assert "/nowhere: " in refusal(broker_location, "a:8080", "/amqp", {"MARATHON_CA_FILE": "/nowhere"})
