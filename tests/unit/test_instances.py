"""What a deploy has to do, and which names, ports and environment the instances get."""

import json
import socket
from dataclasses import replace

import pytest

from cluster.apps.app import AppSpec, HealthCheck, Port
from cluster.schedulers.instances import (
    Steps,
    addresses,
    choose_ports,
    decide,
    environment,
    instance_name,
    kept_app,
    port_is_free,
)
from tests.refusing import refusal


@pytest.mark.parametrize(
    ("instances", "found", "steps", "kind"),
    [
        (2, {}, Steps((), (1, 2), ()), "create"),
        (2, {1: True, 2: True}, Steps((), (), (1, 2)), "nothing"),
        (3, {1: True}, Steps((), (2, 3), (1,)), "scale"),
        (1, {1: True, 2: True}, Steps((2,), (), (1,)), "scale"),
        (1, {1: False}, Steps((1,), (1,), ()), "replace"),
        (2, {2: True, 1: False, 7: False}, Steps((1, 7), (1,), (2,)), "replace"),
        (1, {2: False}, Steps((2,), (1,), ()), "replace"),
    ],
)
def test_decide(instances, found, steps, kind):
    assert decide(AppSpec("/x", instances=instances), found) == steps
    assert steps.kind == kind


def test_names_of_instances():
    assert instance_name("cluster", "/group/amqp", 2) == "cluster-group-amqp-2"


def test_several_instances_cannot_share_a_port():
    app = AppSpec("/amqp", instances=2, ports=(Port(), Port(host=5672)))
    assert "5672" in refusal(decide, app, {})
    decide(replace(app, instances=1), {})


def test_no_instance_is_no_deploy():
    assert "/amqp: " in refusal(decide, AppSpec("/amqp", instances=0), {})


def test_an_app_is_read_as_it_was_kept_and_as_an_earlier_version_kept_it():
    app = AppSpec("/x", command="true", ports=(Port("web", host=1),), health=HealthCheck("true"))
    assert kept_app(json.dumps(app.as_json())) == app
    earlier = {"id": "/x", "cmd": "true", "portDefinitions": [{"port": 1, "name": "web"}]}
    check = {"protocol": "COMMAND", "command": {"value": "true"}}
    assert kept_app(json.dumps(earlier | {"healthChecks": [check]})) == app


def test_chosen_ports_are_the_fixed_and_free_ones():
    ports = (Port(host=5), Port(), Port())
    one, two = choose_ports(ports, 2)
    assert (one[0], two[0]) == (5, 5)
    assert len({*one[1:], *two[1:]}) == 4
    assert all(port_is_free(port) for port in (*one[1:], *two[1:]))


def test_a_port_with_a_server_is_not_free():
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not port_is_free(server.getsockname()[1])


def test_ports_by_name_or_place():
    found = addresses((Port("amqp"), Port()), (5672, 31000))
    assert {name: str(address) for name, address in found.items()} == {"amqp": "127.0.0.1:5672", "1": "127.0.0.1:31000"}


def test_the_environment_of_the_definition_wins():
    app = AppSpec("/x", env={"HOST": "mine", "PORT": "1"}, ports=(Port("http"),))
    assert environment(app, "cluster-x-1", (31000,), {"FILE": "/x"}) == {
        "HOST": "mine",
        "MARATHON_APP_ID": "/x",
        "MESOS_TASK_ID": "cluster-x-1",
        "PORT0": "31000",
        "PORT_31000": "31000",
        "PORT_HTTP": "31000",
        "PORT": "1",
        "PORTS": "31000",
        "FILE": "/x",
    }
