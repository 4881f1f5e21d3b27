"""What a deploy has to do, and which names, ports and environment the instances get."""

import socket

import pytest

from cluster.schedulers import App
from cluster.schedulers.instances import (
    Found,
    Steps,
    check_instances,
    choose_ports,
    decide,
    environment,
    instance_name,
    named_ports,
    port_is_free,
    ports_of,
)
from scripts.errors import ClusterError


@pytest.mark.parametrize(
    ("instances", "found", "steps", "kind"),
    [
        (2, [], Steps((), (1, 2), ()), "create"),
        (2, [Found(1, True), Found(2, True)], Steps((), (), (1, 2)), "nothing"),
        (3, [Found(1, True)], Steps((), (2, 3), (1,)), "scale"),
        (1, [Found(1, True), Found(2, True)], Steps((2,), (), (1,)), "scale"),
        (1, [Found(1, False)], Steps((1,), (1,), ()), "replace"),
        (2, [Found(2, True), Found(1, False), Found(7, False)], Steps((1, 7), (1,), (2,)), "replace"),
    ],
)
def test_decide(instances, found, steps, kind):
    assert decide(instances, found) == steps
    assert steps.kind == kind


def test_names_of_instances():
    assert instance_name("cluster", "/group/amqp", 2) == "cluster-group-amqp-2"


def test_several_instances_cannot_share_a_port():
    app = App("/amqp", {"instances": 2, "portDefinitions": [{"port": 0}, {"port": 5672}]})
    with pytest.raises(ClusterError, match=r"^/amqp: 2 instances cannot share port 5672"):
        check_instances(app)
    check_instances(App("/amqp", app.definition | {"instances": 1}))


def test_no_instance_is_no_deploy():
    with pytest.raises(ClusterError, match=r"^/amqp: instances is 0"):
        check_instances(App("/amqp", {"instances": 0}))


def test_ports_of_a_container_and_of_the_host():
    mapping = {"containerPort": 5672, "hostPort": 1, "name": "amqp", "protocol": "udp"}
    found = ports_of({"container": {"portMappings": [mapping, {}]}, "portDefinitions": [{"port": 2}]})
    assert [(one.name, one.container, one.host, one.protocol) for one in found] == [
        ("amqp", 5672, 1, "udp"),
        ("", 0, 0, "tcp"),
        ("", 0, 2, "tcp"),
    ]
    assert ports_of({"container": None}) == ()


def test_chosen_ports_are_the_fixed_and_free_ones():
    ports = ports_of({"portDefinitions": [{"port": 5}, {"port": 0}, {"port": 0}]})
    one, two = choose_ports(ports, 2)
    assert (one[0], two[0]) == (5, 5)
    assert len({*one[1:], *two[1:]}) == 4
    assert all(port_is_free(port) for port in (*one[1:], *two[1:]))


def test_a_port_with_a_server_is_not_free():
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not port_is_free(server.getsockname()[1])


def test_ports_by_name_or_place():
    ports = ports_of({"portDefinitions": [{"name": "amqp"}, {}]})
    assert named_ports(ports, (5672, 31000)) == {"amqp": 5672, "1": 31000}


def test_the_environment_of_the_definition_wins():
    app = App("/x", {"env": {"HOST": "mine", "PORT": "1"}, "portDefinitions": [{"port": 0, "name": "http"}]})
    assert environment(app, "cluster-x-1", (31000,)) == {
        "HOST": "mine",
        "MARATHON_APP_ID": "/x",
        "MESOS_TASK_ID": "cluster-x-1",
        "PORT0": "31000",
        "PORT_31000": "31000",
        "PORT_HTTP": "31000",
        "PORT": "1",
        "PORTS": "31000",
    }
