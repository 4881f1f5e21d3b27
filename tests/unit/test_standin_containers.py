"""What the stand-in makes of a task: options for the engine, and the environment."""

from __future__ import annotations

from typing import Any

import pytest

from tests.standin.canonical import canonical
from tests.standin.containers import run_options
from tests.standin.environment import environment


def app(**fields: Any) -> dict[str, Any]:
    container = {"docker": {"image": "reg:5000/x:1"}} | fields.pop("container", {})
    return canonical({"id": "/group/x", "cpus": 0.5, "mem": 64, "container": container} | fields)


def docker(**fields: Any) -> dict[str, Any]:
    return {"docker": {"image": "reg:5000/x:1"} | fields}


BRIDGE = {"networks": [{"mode": "container/bridge"}]}
MAPPINGS = {
    "portMappings": [
        {"containerPort": 5672, "name": "amqp"},
        {"containerPort": 0, "protocol": "udp,tcp"},
    ]
}


def test_a_cmd_replaces_the_entrypoint_and_args_do_not() -> None:
    own = run_options(app(cmd="exec x"), "t", [1], {}).own
    assert (own["entrypoint"], own["command"]) == (["/bin/sh"], ["-c", "exec x"])
    own = run_options(app(args=["a", "b"]), "t", [1], {}).own
    assert (own["entrypoint"], own["command"]) == (None, ["a", "b"])
    own = run_options(app(), "t", [1], {}).own
    assert (own["entrypoint"], own["command"]) == (None, None)


def test_limits_are_shares_and_bytes_and_never_under_32_mib() -> None:
    host = run_options(app(), "t", [1], {}).host
    assert (host["cpu_shares"], host["mem_limit"]) == (512, 64 << 20)
    host = run_options(app(cpus=0.001, mem=1), "t", [1], {}).host
    assert (host["cpu_shares"], host["mem_limit"]) == (2, 32 << 20)


def test_ports_are_published_on_bridges_and_need_nothing_on_the_host() -> None:
    bridged = app(container=docker() | MAPPINGS, **BRIDGE)
    run = run_options(bridged, "t", [31000, 31001], {})
    assert run.host["network_mode"] == "bridge"
    assert run.host["port_bindings"] == {"5672/tcp": [31000], "31001/udp": [31001], "31001/tcp": [31001]}
    run = run_options(bridged, "t", [31000, 31001], {}, "127.0.0.1")
    assert run.host["port_bindings"]["5672/tcp"] == [("127.0.0.1", 31000)]
    run = run_options(app(), "t", [31000], {})
    assert run.host["network_mode"] == "host"
    assert "port_bindings" not in run.host


def test_volumes_the_task_id_and_a_named_network() -> None:
    volumes = [
        {"containerPath": "/data", "hostPath": "/var/x"},
        {"containerPath": "/t", "hostPath": "/t", "mode": "RO"},
    ]
    network = [{"mode": "container", "name": "overlay"}]
    run = run_options(app(container=docker() | {"volumes": volumes}, networks=network), "the-task", [], {})
    assert run.host["binds"] == ["/var/x:/data:rw", "/t:/t:ro"]
    assert run.own["labels"] == {"MESOS_TASK_ID": "the-task"}
    assert run.host["network_mode"] == "overlay"


def test_docker_parameters_are_flags_of_docker_run() -> None:
    given = {"init": "true", "cap-drop": "ALL", "tmpfs": "/run:size=1m", "env": "A=b=c", "ulimit": "nofile=10:20",
             "hostname": "h", "label": "x=y", "volume": "/a:/b"}  # fmt: skip
    parameters = [{"key": key, "value": value} for key, value in given.items()]
    run = run_options(app(container=docker(parameters=parameters)), "t", [1], {"X": "1"})
    assert run.host["init"] is True
    assert (run.host["cap_drop"], run.host["tmpfs"], run.host["binds"]) == (["ALL"], {"/run": "size=1m"}, ["/a:/b"])
    assert run.host["ulimits"] == [{"Name": "nofile", "Soft": 10, "Hard": 20}]
    assert run.own["environment"] == {"X": "1", "A": "b=c"}
    assert (run.own["hostname"], run.own["labels"]) == ("h", {"MESOS_TASK_ID": "t", "x": "y"})


def test_a_parameter_that_docker_does_not_know() -> None:
    parameters = [{"key": "colour", "value": "red"}]
    with pytest.raises(ValueError, match="unknown flag: --colour"):
        run_options(app(container=docker(parameters=parameters)), "t", [1], {})


def environment_of(definition: dict[str, Any], *ports: int) -> dict[str, str]:
    return environment(definition, "2026-01-01T00:00:00.000Z", "x.instance-1._app.1", "host1", ports, "mesos-1")


def test_the_environment_tells_where_and_who() -> None:
    given = environment_of(app(labels={"my-label": "v"}), 31000)
    assert (given["HOST"], given["MESOS_TASK_ID"], given["MARATHON_APP_ID"]) == (
        "host1",
        "x.instance-1._app.1",
        "/group/x",
    )
    assert (given["MARATHON_APP_RESOURCE_CPUS"], given["MARATHON_APP_RESOURCE_MEM"]) == ("0.5", "64.0")
    assert (given["MARATHON_APP_LABELS"], given["MARATHON_APP_LABEL_MY_LABEL"]) == ("MY_LABEL", "v")
    assert given["MARATHON_APP_DOCKER_IMAGE"] == "reg:5000/x:1"


def test_ports_are_the_hosts_also_behind_a_bridge() -> None:
    given = environment_of(app(container=docker() | MAPPINGS, **BRIDGE), 31000, 31001)
    assert (given["PORT"], given["PORT0"], given["PORT1"], given["PORTS"]) == ("31000", "31000", "31001", "31000,31001")
    assert (given["PORT_5672"], given["PORT_AMQP"], given["PORT_31001"]) == ("31000", "31000", "31001")
    assert not any(name.startswith("PORT") for name in environment_of(app(portDefinitions=[])))


def test_the_apps_own_variables_win() -> None:
    assert environment_of(app(env={"PORT": "1", "HOST": "mine"}), 31000)["PORT"] == "1"
