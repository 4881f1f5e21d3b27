"""From an app to what the Docker Engine is asked for, by equality."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster import credentials
from cluster.apps import definitions
from cluster.apps.app import AppSpec, HealthCheck, Port, Volume
from cluster.credentials import SecretFile
from cluster.schedulers.docker.body import OPTIONS, Task, container_body
from tests.refusing import refusal
from tests.standin.rendering import app_json
from tests.standin.world import World

APP = AppSpec("/amqp", image="amqp:v1")


def body_of(app: AppSpec, number: int = 1, host_ports: tuple[int, ...] = ()) -> dict[str, Any]:
    return container_body(Task(app, "cluster", number, host_ports))


def test_the_whole_of_a_queue() -> None:
    app = AppSpec(
        "/amqp",
        command="exec rabbitmq-server",
        image="localhost:5000/amqp@sha256:1",
        env={"HOST": "mine", "A": "b=c"},
        ports=(Port("amqp", 5672, 5672), Port(protocol="udp,tcp")),
        on_host_network=False,
        volumes=(
            Volume("/var/lib/cluster/amqp", "/var/lib/rabbitmq"),
            Volume("/home/x/secret", "/secret", read_only=True),
        ),
        health=HealthCheck("true", interval_s=30, failures=0),
        cpus=0.5,
        mem_mib=2048,
        kill_grace_s=60,
        pinned_to="any",
        labels={"team": "x"},
        container_options=(
            ("init", "true"), ("hostname", "queue"), ("ulimit", "nofile=65536"), ("ulimit", "core=0:1"),
        ),
        engine_options=(("hostname", "wins"),),
    )  # fmt: skip
    assert container_body(Task(app, "cluster", 1, (5672, 31000))) == {
        "Image": "localhost:5000/amqp@sha256:1",
        "Entrypoint": ["/bin/sh"],
        "Cmd": ["-c", "exec rabbitmq-server"],
        "Env": [
            "HOST=mine",
            "MARATHON_APP_ID=/amqp",
            "MESOS_TASK_ID=cluster-amqp-1",
            "MARATHON_APP_DOCKER_IMAGE=localhost:5000/amqp@sha256:1",
            "PORT0=5672",
            "PORT_5672=5672",
            "PORT_AMQP=5672",
            "PORT1=31000",
            "PORT_31000=31000",
            "PORT=5672",
            "PORTS=5672,31000",
            "A=b=c",
        ],
        "Labels": {
            "team": "x",
            "cluster.project": "cluster",
            "cluster.app": "/amqp",
            "cluster.instance": "1",
            "cluster.source": json.dumps(app.as_json()),
            "cluster.ports": "5672,31000",
        },
        "Hostname": "wins",
        "StopTimeout": 60,
        "ExposedPorts": {"5672/tcp": {}, "31000/udp": {}, "31000/tcp": {}},
        "Healthcheck": {
            "Test": ["CMD-SHELL", "true"],
            "Interval": 30_000_000_000,
            "Timeout": 20_000_000_000,
            "StartPeriod": 300_000_000_000,
            "Retries": 1,
        },
        "HostConfig": {
            "CpuShares": 512,
            "Memory": 2048 * 1024 * 1024,
            "NetworkMode": "bridge",
            "Init": True,
            "Ulimits": [{"Name": "nofile", "Soft": 65536, "Hard": 65536}, {"Name": "core", "Soft": 0, "Hard": 1}],
            "RestartPolicy": {"Name": "always"},
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
            "PortBindings": {
                "5672/tcp": [{"HostIp": "127.0.0.1", "HostPort": "5672"}],
                "31000/udp": [{"HostIp": "127.0.0.1", "HostPort": "31000"}],
                "31000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "31000"}],
            },
            "Mounts": [
                {
                    "Type": "volume",
                    "Source": "cluster-amqp",
                    "Target": "/var/lib/rabbitmq",
                    "ReadOnly": False,
                    "VolumeOptions": {"Labels": {"cluster.project": "cluster", "cluster.app": "/amqp"}},
                },
                {"Type": "bind", "Source": "/home/x/secret", "Target": "/secret", "ReadOnly": True},
            ],
        },
    }


def test_the_least_there_can_be_has_marathon_s_defaults() -> None:
    app = AppSpec("/group/x", image="amqp:v1")
    assert container_body(Task(app, "mine", 3)) == {
        "Image": "amqp:v1",
        "Env": [
            "HOST=127.0.0.1",
            "MARATHON_APP_ID=/group/x",
            "MESOS_TASK_ID=mine-group-x-3",
            "MARATHON_APP_DOCKER_IMAGE=amqp:v1",
        ],
        "Labels": {
            "cluster.project": "mine",
            "cluster.app": "/group/x",
            "cluster.instance": "3",
            "cluster.source": json.dumps(app.as_json()),
            "cluster.ports": "",
        },
        "StopTimeout": 10,
        "HostConfig": {
            "CpuShares": 1024,
            "Memory": 128 * 1024 * 1024,
            "NetworkMode": "host",
            "UsernsMode": "host",
            "RestartPolicy": {"Name": "always"},
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
        },
    }


def test_a_secret_file_is_mounted_and_its_content_is_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(credentials, "SECRETS", tmp_path)
    files = (SecretFile("w", "one", b"planted", 1, env="ONE"), SecretFile("w", "two", b"planted", 1, folder="/conf"))
    body = body_of(replace(APP, secret_files=files))
    assert "ONE=/run/secrets/one" in body["Env"]
    assert [(mount["Source"], mount["Target"]) for mount in body["HostConfig"]["Mounts"]] == [
        (f"{tmp_path}/cluster-w-one", "/run/secrets/one"),
        (f"{tmp_path}/cluster-w-two", "/conf/two"),
    ]
    assert "planted" not in json.dumps(body)


@pytest.mark.parametrize(("asked_s", "granted_s"), [(0, 0), (59, 59), (604_800, 60)])
def test_an_engine_that_ends_waits_less_than_systemd_for_it(asked_s: int, granted_s: int) -> None:
    assert body_of(replace(APP, kill_grace_s=asked_s))["StopTimeout"] == granted_s


def test_ports_on_the_host_s_own_network_are_told_and_not_published() -> None:
    body = body_of(replace(APP, ports=(Port("http"),)), host_ports=(31000,))
    assert {"PORT0=31000", "PORT_HTTP=31000", "PORTS=31000"} < set(body["Env"])
    assert "ExposedPorts" not in body
    assert "PortBindings" not in body["HostConfig"]


@pytest.mark.parametrize(("cpus", "shares"), [(0.0001, 2), (0.5, 512), (2, 2048)])
def test_cpu_shares_are_those_of_mesos(cpus: float, shares: int) -> None:
    assert body_of(replace(APP, cpus=cpus))["HostConfig"]["CpuShares"] == shares


@pytest.mark.parametrize(("mem_mib", "least_mib"), [(1, 32), (32, 32), (100.5, 100)])
def test_memory_is_never_less_than_mesos_gives(mem_mib: float, least_mib: int) -> None:
    assert body_of(replace(APP, mem_mib=mem_mib))["HostConfig"]["Memory"] == least_mib * 1024 * 1024


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"image": ""}, "/amqp: the image"),
        ({"volumes": (Volume("x", "/x"),)}, "hostPath 'x'"),
        ({"volumes": (Volume("/x", ""),)}, "containerPath"),
        ({"ports": (Port(container=1),)}, "containerPort 1: "),
        ({"container_options": (("volume", "/:/host"),)}, "'volume'"),
        ({"engine_options": (("privileged", "true"),)}, "'privileged'"),
        ({"container_options": (("init", "1"),)}, "init is '1'"),
        ({"container_options": (("shm-size", "much"),)}, "shm-size is 'much'"),
        ({"container_options": (("shm-size", "-64m"),)}, "shm-size is '-64m'"),
        ({"container_options": (("shm-size", "infk"),)}, "shm-size is 'infk'"),
        ({"container_options": (("ulimit", "nofile"),)}, "ulimit is 'nofile'"),
    ],
)
def test_what_cannot_be_run_is_named(wrong: dict[str, Any], named: str) -> None:
    app = replace(APP, **wrong)
    assert named in refusal(body_of, app, host_ports=tuple(port.host for port in app.ports))


OPTIONS_IN_BODY = {
    "add-host": ("x:127.0.0.1", {"HostConfig": {"ExtraHosts": ["x:127.0.0.1"]}}),
    "cap-add": ("NET_ADMIN", {"HostConfig": {"CapAdd": ["NET_ADMIN"]}}),
    "cap-drop": ("ALL", {"HostConfig": {"CapDrop": ["ALL"]}}),
    "cpuset-cpus": ("0,1", {"HostConfig": {"CpusetCpus": "0,1"}}),
    "group-add": ("audio", {"HostConfig": {"GroupAdd": ["audio"]}}),
    "hostname": ("queue", {"Hostname": "queue"}),
    "init": ("false", {"HostConfig": {"Init": False}}),
    "pids-limit": ("100", {"HostConfig": {"PidsLimit": 100}}),
    "read-only": ("true", {"HostConfig": {"ReadonlyRootfs": True}}),
    "security-opt": ("no-new-privileges", {"HostConfig": {"SecurityOpt": ["no-new-privileges"]}}),
    "shm-size": ("64m", {"HostConfig": {"ShmSize": 64 * 1024**2}}),
    "tmpfs": ("/run:size=1m", {"HostConfig": {"Tmpfs": {"/run": "size=1m"}}}),
    "ulimit": ("nofile=1:2", {"HostConfig": {"Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}]}}),
    "user": ("1000:1000", {"User": "1000:1000"}),
}


@pytest.mark.parametrize("key", OPTIONS)
def test_a_container_option(key: str) -> None:
    value, expected = OPTIONS_IN_BODY[key]
    plain = body_of(APP)
    body = body_of(replace(APP, container_options=((key, value),)))
    for name, part in expected.items():
        assert body[name] == (plain[name] | part if isinstance(part, dict) else part)


def test_what_marathon_answers_when_it_is_asked_for_an_app_can_be_run() -> None:
    """With all that it adds to what was sent."""
    mapping = {"containerPort": 80, "hostPort": 0, "name": "http"}
    container = {"docker": {"image": "reg:5000/worker:1"}, "portMappings": [mapping]}
    sent = {"id": "/worker", "networks": [{"mode": "container/bridge"}], "container": container}
    world = World()
    app = definitions.read(app_json(world, world.put_app(sent)))
    app.refuse_unheld("local")
    assert container_body(Task(app, "cluster", 1, (31000,)))["Image"] == "reg:5000/worker:1"
