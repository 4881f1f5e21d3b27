"""From a definition to what the Docker Engine is asked for, by equality."""

import json
from typing import Any

import pytest

from cluster.apps.definitions import digest
from cluster.schedulers import App
from cluster.schedulers.docker.parameters import PARAMETERS
from cluster.schedulers.docker.parts import Task
from cluster.schedulers.docker.translate import TABLE, check, container_body
from cluster.schedulers.instances import ports_of
from scripts.errors import ClusterError

IMAGE = {"container": {"type": "DOCKER", "docker": {"image": "amqp:v1"}}}


def body_of(definition: dict[str, Any], number: int = 1, host_ports: tuple[int, ...] = ()) -> dict[str, Any]:
    return container_body(Task(App("/amqp", {"id": "/amqp"} | definition), "cluster", number, host_ports))


def with_container(**keys: Any) -> dict[str, Any]:
    return {"container": {"type": "DOCKER", "docker": {"image": "amqp:v1"}, **keys}}


def with_parameter(key: str, value: str) -> dict[str, Any]:
    return {"container": {"docker": {"image": "amqp:v1", "parameters": [{"key": key, "value": value}]}}}


def test_the_whole_of_a_queue():
    definition = {
        "id": "/amqp",
        "instances": 1,
        "cpus": 0.5,
        "mem": 2048,
        "cmd": "exec rabbitmq-server",
        "env": {"HOST": "mine", "A": "b=c"},
        "labels": {"team": "x"},
        "networks": [{"mode": "container/bridge"}],
        "taskKillGracePeriodSeconds": 60,
        "container": {
            "type": "DOCKER",
            "docker": {
                "image": "localhost:5000/amqp@sha256:1",
                "forcePullImage": True,
                "privileged": False,
                "parameters": [
                    {"key": "init", "value": "true"},
                    {"key": "hostname", "value": "queue"},
                    {"key": "ulimit", "value": "nofile=65536"},
                    {"key": "ulimit", "value": "core=0:1"},
                ],
            },
            "portMappings": [
                {"containerPort": 5672, "hostPort": 5672, "name": "amqp", "labels": {"VIP_0": "x"}, "servicePort": 1},
                {"containerPort": 0, "hostPort": 0, "protocol": "udp,tcp"},
            ],
            "volumes": [
                {"containerPath": "/var/lib/rabbitmq", "hostPath": "/var/lib/cluster/amqp", "mode": "RW"},
                {"containerPath": "/secret", "hostPath": "/home/x/secret", "mode": "RO"},
            ],
        },
        "healthChecks": [
            {"protocol": "COMMAND", "command": {"value": "true"}, "intervalSeconds": 30, "maxConsecutiveFailures": 0}
        ],
        "constraints": [["hostname", "UNIQUE"]],
        "upgradeStrategy": {"minimumHealthCapacity": 0},
        "fetch": [{"uri": "file:///etc/docker.tar.gz"}],
        "backoffSeconds": 5,
        "secrets": {},
    }
    assert container_body(Task(App("/amqp", definition), "cluster", 1, (5672, 31000))) == {
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
            "cluster.definition": digest(definition),
            "cluster.source": json.dumps(definition),
            "cluster.ports": "5672,31000",
        },
        "Hostname": "queue",
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
            "Privileged": False,
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


def test_the_least_there_can_be_has_marathon_s_defaults():
    definition = {"id": "/group/x", **IMAGE}
    assert container_body(Task(App("/group/x", definition), "mine", 3)) == {
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
            "cluster.definition": digest(definition),
            "cluster.source": json.dumps(definition),
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


@pytest.mark.parametrize(("asked_s", "granted_s"), [(0, 0), (59, 59), (604_800, 60)])
def test_an_engine_that_ends_waits_less_than_systemd_for_it(asked_s, granted_s):
    assert body_of(IMAGE | {"taskKillGracePeriodSeconds": asked_s})["StopTimeout"] == granted_s


def test_args_go_to_the_image_s_entry_point():
    body = body_of(IMAGE | {"args": ["-q", "a b"]})
    assert body["Cmd"] == ["-q", "a b"]
    assert "Entrypoint" not in body


def test_ports_on_the_host_s_own_network_are_told_and_not_published():
    body = body_of(IMAGE | {"portDefinitions": [{"port": 0, "name": "http"}]}, host_ports=(31000,))
    assert {"PORT0=31000", "PORT_HTTP=31000", "PORTS=31000"} < set(body["Env"])
    assert "ExposedPorts" not in body
    assert "PortBindings" not in body["HostConfig"]


@pytest.mark.parametrize(("cpus", "shares"), [(0.0001, 2), (0.5, 512), (2, 2048)])
def test_cpu_shares_are_those_of_mesos(cpus, shares):
    assert body_of(IMAGE | {"cpus": cpus})["HostConfig"]["CpuShares"] == shares


@pytest.mark.parametrize(("mem_mib", "least_mib"), [(1, 32), (32, 32), (100.5, 100)])
def test_memory_is_never_less_than_mesos_gives(mem_mib, least_mib):
    assert body_of(IMAGE | {"mem": mem_mib})["HostConfig"]["Memory"] == least_mib * 1024 * 1024


@pytest.mark.parametrize("key", [key for key, rule in TABLE.items() if rule.fate == "left out" and "." not in key])
def test_what_has_no_meaning_on_one_host_changes_nothing_but_the_labels(key):
    with_key, without = body_of(IMAGE | {key: ["anything"]}), body_of(IMAGE)
    assert with_key.pop("Labels") != without.pop("Labels")
    assert with_key == without


@pytest.mark.parametrize("key", [key for key, rule in TABLE.items() if rule.fate == "refused" and "." not in key])
def test_what_would_change_the_meaning_is_refused_by_name(key):
    with pytest.raises(ClusterError, match=f"^/amqp: {key} cannot be run here: ."):
        body_of(IMAGE | {key: [{"any": "thing"}]})


@pytest.mark.parametrize("empty", [None, "", [], {}, 0])
def test_a_refused_key_that_says_nothing_is_taken(empty):
    assert body_of(IMAGE | {"secrets": empty})["HostConfig"] == body_of(IMAGE)["HostConfig"]


@pytest.mark.parametrize(
    ("definition", "error"),
    [
        ({"instancs": 2}, "/amqp: instancs: this key cannot be run here"),
        (with_container(dokcer={}), "/amqp: container.dokcer: this key cannot"),
        (with_container(volumes=[{"containerPat": "/x"}]), r"/amqp: container.volumes\[0\].containerPat: this key"),
        (with_container(volumes=[{"containerPath": "/x"}]), r"/amqp: container.volumes\[0\].hostPath is missing"),
        (
            with_container(volumes=[{"containerPath": "/x", "persistent": {"size": 1}}]),
            r"container.volumes\[0\].persistent cannot be run here: write a hostPath",
        ),
        (with_container(volumes=[{"containerPath": "/x", "hostPath": "x"}]), "hostPath 'x' is not absolute"),
        (with_container(volumes=["x"]), r"container.volumes\[0\] is 'x': an object is needed"),
        (with_container(type="MESOS"), "container.type is 'MESOS': here it can be DOCKER"),
        (
            with_container(docker={"image": "x", "network": "BRIDGE"}),
            "docker.network cannot .* write networks",
        ),
        (with_container(docker={}), "container.docker.image is missing"),
        (IMAGE | {"networks": [{"mode": "container", "name": "x"}]}, r"networks\[0\].mode is 'container': here it can"),
        (IMAGE | {"networks": [{}]}, r"networks\[0\].mode is missing"),
        (IMAGE | {"networks": []}, "networks has 0 entries"),
        (with_container(portMappings=[{"containerPort": 1}]), "portMappings cannot be used on the host's network"),
        (
            IMAGE | {"networks": [{"mode": "container/bridge"}], "portDefinitions": [{"port": 1}]},
            "portDefinitions are for the host's network",
        ),
        (IMAGE | {"healthChecks": [{"protocol": "HTTP"}]}, r"healthChecks\[0\].protocol is 'HTTP': .* COMMAND"),
        (IMAGE | {"healthChecks": [{"portIndex": 0}]}, r"healthChecks\[0\].protocol is missing"),
        (IMAGE | {"healthChecks": [{"protocol": "COMMAND", "command": {}}]}, "command.value is missing"),
        (IMAGE | {"healthChecks": [{"protocol": "COMMAND", "command": {"value": "x"}}] * 2}, "2 healthChecks"),
        (IMAGE | {"cmd": "x", "args": ["y"]}, "cmd and args exclude each other"),
        (IMAGE | {"cpus": "1"}, "cpus is '1': a number is needed"),
        (IMAGE | {"mem": True}, "mem is True: a number is needed"),
        (IMAGE | {"instances": 1.5}, "instances is 1.5: a whole number is needed"),
        (IMAGE | {"env": {"A": 1}}, "env.A is 1: write a string"),
        (IMAGE | {"env": {"A": {"secret": "x"}}}, "env.A is {'secret': 'x'}: write a string"),
        (with_parameter("volume", "/:/host"), "the docker parameter 'volume' is not known here; those are add-host, "),
        (with_parameter("init", "1"), "docker parameter init: '1': write true or false"),
        (with_parameter("shm-size", "64 MB"), "docker parameter shm-size: '64 MB': write a size"),
        (with_parameter("ulimit", "nofile"), "docker parameter ulimit: 'nofile'"),
    ],
)
def test_what_cannot_be_run_is_named_with_its_place(definition, error):
    with pytest.raises(ClusterError, match=error):
        body_of(definition, host_ports=tuple(port.host for port in ports_of(definition)))


PARAMETERS_IN_BODY = {
    "add-host": ("x:127.0.0.1", {"HostConfig": {"ExtraHosts": ["x:127.0.0.1"]}}),
    "cap-add": ("NET_ADMIN", {"HostConfig": {"CapAdd": ["NET_ADMIN"]}}),
    "cap-drop": ("ALL", {"HostConfig": {"CapDrop": ["ALL"]}}),
    "cpus": ("1.5", {"HostConfig": {"NanoCpus": 1_500_000_000}}),
    "cpuset-cpus": ("0,1", {"HostConfig": {"CpusetCpus": "0,1"}}),
    "dns": ("127.0.0.1", {"HostConfig": {"Dns": ["127.0.0.1"]}}),
    "group-add": ("audio", {"HostConfig": {"GroupAdd": ["audio"]}}),
    "hostname": ("queue", {"Hostname": "queue"}),
    "init": ("false", {"HostConfig": {"Init": False}}),
    "ipc": ("host", {"HostConfig": {"IpcMode": "host"}}),
    "memory-swap": ("2G", {"HostConfig": {"MemorySwap": 2 * 1024**3}}),
    "oom-score-adj": ("-5", {"HostConfig": {"OomScoreAdj": -5}}),
    "pids-limit": ("100", {"HostConfig": {"PidsLimit": 100}}),
    "read-only": ("true", {"HostConfig": {"ReadonlyRootfs": True}}),
    "security-opt": ("no-new-privileges", {"HostConfig": {"SecurityOpt": ["no-new-privileges"]}}),
    "shm-size": ("64m", {"HostConfig": {"ShmSize": 64 * 1024**2}}),
    "stop-signal": ("SIGINT", {"StopSignal": "SIGINT"}),
    "sysctl": ("net.core.somaxconn=9", {"HostConfig": {"Sysctls": {"net.core.somaxconn": "9"}}}),
    "tmpfs": ("/run:size=1m", {"HostConfig": {"Tmpfs": {"/run": "size=1m"}}}),
    "ulimit": ("nofile=1:2", {"HostConfig": {"Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}]}}),
    "user": ("1000:1000", {"User": "1000:1000"}),
    "workdir": ("/srv", {"WorkingDir": "/srv"}),
}


def test_every_docker_parameter_has_its_example():
    assert PARAMETERS_IN_BODY.keys() == PARAMETERS.keys()


@pytest.mark.parametrize("key", PARAMETERS)
def test_a_docker_parameter(key):
    value, expected = PARAMETERS_IN_BODY[key]
    plain = body_of(with_container())
    body = body_of(with_parameter(key, value))
    for name, part in expected.items():
        if isinstance(part, dict):
            assert body[name] == plain[name] | part
        else:
            assert body[name] == part


def test_null_says_nothing():
    """As an older Marathon answers when it is asked for an app."""
    nulls = dict.fromkeys([key for key in TABLE if "." not in key and key not in ("id", "container")])
    nulls |= {"container": {"docker": {"image": "amqp:v1", "parameters": None}, "volumes": None, "portMappings": None}}
    assert body_of(nulls)["HostConfig"] == body_of(IMAGE)["HostConfig"]


def test_check_takes_what_marathon_answers_when_it_is_asked_for_an_app():
    """The answer of a Marathon 1.10 to POST /v2/apps, with what it adds."""
    answer = {
        "id": "/worker", "backoffFactor": 1.15, "backoffSeconds": 1, "cmd": "python worker.py",
        "container": {
            "type": "DOCKER",
            "docker": {"forcePullImage": False, "image": "reg:5000/worker:1", "parameters": [], "privileged": False},
            "volumes": [],
            "portMappings": [
                {"containerPort": 80, "hostPort": 0, "labels": {}, "name": "http", "protocol": "tcp", "servicePort": 0}
            ],
        },
        "cpus": 0.5, "disk": 0, "executor": "", "instances": 1, "labels": {}, "maxLaunchDelaySeconds": 300, "mem": 64,
        "gpus": 0, "networks": [{"mode": "container/bridge"}], "requirePorts": False,
        "upgradeStrategy": {"maximumOverCapacity": 1, "minimumHealthCapacity": 1},
        "version": "2020-01-01T00:00:00.000Z", "killSelection": "YOUNGEST_FIRST",
        "unreachableStrategy": {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0}, "role": "*",
        "tasksStaged": 0, "tasksRunning": 0, "tasksHealthy": 0, "tasksUnhealthy": 0, "deployments": [{"id": "5ed4"}],
    }  # fmt: skip
    check(App("/worker", answer))
    assert container_body(Task(App("/worker", answer), "cluster", 1, (31000,)))["Image"] == "reg:5000/worker:1"
