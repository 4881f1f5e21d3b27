"""The queue's image: who it runs as, whom it lets in, what it keeps, and what it believes of its container."""

import io
import json
import secrets
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pika
import pytest
import requests
from docker.errors import ContainerError
from pika.exceptions import AMQPConnectionError, ProbableAuthenticationError

from cluster.apps import definitions
from cluster.components import QUEUE
from cluster.schedulers.docker.body import options_body
from tests.ports import free_ports
from tests.waiting import until

pytestmark = pytest.mark.engine

GUEST = {"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-rabbit loopback_users []"}
TIMEOUT_S = 60
MEM_MIB = 400


class Node:
    """One container of the image on a volume of its own, its ports published on 127.0.0.1."""

    def __init__(self, client: Any, image: str, name: str) -> None:
        self.client, self.image, self.name = client, image, name
        self.port, self.management, self.prometheus = free_ports(3)
        self.app = definitions.read(definitions.load(QUEUE.definition))
        self.container: Any = None

    def run(self, hostname: str = "one", env: dict[str, str] = GUEST) -> "Node":
        """Run it as a scheduler does and return when its health check succeeds."""
        ports = {"5672/tcp": self.port, "15672/tcp": self.management, "15692/tcp": self.prometheus}
        self.container = self.client.containers.run(
            self.image, ["-c", self.app.command], entrypoint="/bin/sh", name=self.name, hostname=hostname,
            environment=env, ports={inside: ("127.0.0.1", outside) for inside, outside in ports.items()},
            volumes={self.name: {"bind": "/var/lib/rabbitmq"}}, mem_limit=f"{MEM_MIB}m", detach=True,
            **self._limits(),
        )  # fmt: skip
        return self.wait()

    def _limits(self) -> dict[str, Any]:
        """What the definition's parameters say, in the SDK's words."""
        host = options_body(self.app.container_options, self.app.id)
        names = {
            "init": "Init", "cap_drop": "CapDrop", "security_opt": "SecurityOpt", "pids_limit": "PidsLimit",
            "read_only": "ReadonlyRootfs", "tmpfs": "Tmpfs",
        }  # fmt: skip
        assert set(host["HostConfig"]) == set(names.values())
        return {name: host["HostConfig"][theirs] for name, theirs in names.items()}

    def wait(self) -> "Node":
        """Return when the health check succeeds."""
        until(lambda: not self.shell(self.app.health.command), "it is healthy", TIMEOUT_S)
        return self

    def shell(self, command: str) -> int:
        """Run a command in the container: its exit code, since a busy engine may lose what a short command prints."""
        return int(self.container.exec_run(["/bin/sh", "-c", command]).exit_code)

    def connect(self) -> pika.BlockingConnection:
        """From this machine, through the published port, as guest."""
        return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", self.port, socket_timeout=10))

    def overview(self) -> dict[str, Any]:
        """What the node says of itself through its management API."""
        url = f"http://127.0.0.1:{self.management}/api/nodes"

        def figures() -> Any:
            node = requests.get(url, auth=("guest", "guest"), timeout=10).json()[0]
            return node if "mem_limit" in node else None

        return dict(until(figures, "the node's statistics", TIMEOUT_S))


@contextmanager
def own_node(client: Any, image: str) -> Iterator[Node]:
    one = Node(client, image, f"test-{secrets.token_hex(4)}-node")
    yield one
    one.container.remove(force=True)
    client.volumes.get(one.name).remove()


@pytest.fixture
def node(docker_client: Any, queue_image: str) -> Iterator[Node]:
    """A node of one test's own, still to be run."""
    with own_node(docker_client, queue_image) as one:
        yield one


@pytest.fixture(scope="module")
def running(docker_client: Any, queue_image: str) -> Iterator[Node]:
    """A running node, to be looked at only."""
    with own_node(docker_client, queue_image) as one:
        yield one.run()


def put(node: Node, queue: str, body: bytes) -> None:
    """Declare a queue and publish to it; returns when the broker has confirmed."""
    connection = node.connect()
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum", "x-delivery-limit": -1})
    channel.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2), mandatory=True)
    connection.close()


def take(node: Node, queue: str) -> Any:
    """The first message's body."""
    connection = node.connect()
    connection.call_later(20, connection.close)  # a queue without a leader would not answer for a minute
    body = connection.channel().basic_get(queue, auto_ack=True)[2]
    connection.close()
    return body


def test_a_confirmed_message_outlives_kill_and_a_new_container(node: Node) -> None:
    node.run()
    for number in range(3):
        # Killed at once: a queue that is a moment old must be known on disk.
        put(node, f"queue-{number}", b"kept %d" % number)
        node.container.kill()
        node.container.start()
        node.wait()
    node.container.remove(force=True)
    node.run(hostname="two")
    assert [take(node, f"queue-{number}") for number in range(3)] == [b"kept 0", b"kept 1", b"kept 2"]


def test_guest_is_let_in_by_who_runs_it_alone(node: Node) -> None:
    node.run(env={})
    with pytest.raises(ProbableAuthenticationError):
        node.connect()
    node.container.remove(force=True)
    node.run(env=GUEST)
    node.connect().close()


def test_it_stops_by_itself(node: Node) -> None:
    node.run()
    node.container.stop(timeout=30)
    node.container.reload()
    assert node.container.attrs["State"]["ExitCode"] == 0
    with pytest.raises(AMQPConnectionError):
        node.connect()


def test_it_runs_as_a_plain_user_under_an_init(running: Node) -> None:
    processes = running.container.top(ps_args="-eo uid,pid,args")["Processes"]
    assert {process[0] for process in processes} == {"900"}
    # Asked inside: among the numbers of this machine, which begin anew at some time, the init need not be the first.
    assert running.shell("tr '\\0' '\\n' </proc/1/cmdline | head -1 | grep -q init") == 0
    assert (
        running.shell("grep -q 'CapBnd:.*0000000000000000' /proc/1/status && grep -q 'Privs:.*1' /proc/1/status") == 0
    )
    assert running.shell("touch /etc/rabbitmq/mine") != 0
    assert running.shell("test \"$(stat -c '%U %a' /var/lib/rabbitmq/.erlang.cookie)\" = 'rabbitmq 400'") == 0


def test_ports_for_other_nodes_are_inside_only(running: Node) -> None:
    listening = r"""awk '$4 == "0A" && $2 !~ /0100007F:/ { print $2 }' /proc/net/tcp /proc/net/tcp6"""
    ports = f"{listening} | sed 's/.*://' | sort -u | tr '\\n' ' '"
    wanted = "".join(f"{port:04X} " for port in (5672, 15672, 15692))
    assert running.shell(f'test "$({ports})" = "{wanted}"') == 0


def test_it_knows_the_limits_of_its_container(running: Node) -> None:
    overview = running.overview()
    assert overview["mem_limit"] == int(0.6 * MEM_MIB * 2**20)
    assert overview["fd_total"] <= 65536
    assert overview["disk_free_limit"] == 10**9
    assert overview["name"] == "rabbit@localhost"


def test_metrics_and_settings_are_there(running: Node) -> None:
    metrics = requests.get(f"http://127.0.0.1:{running.prometheus}/metrics", timeout=10)
    assert "rabbitmq_build_info" in metrics.text
    wanted = "{ok, 2592000000} = application:get_env(rabbit, consumer_timeout)"
    assert running.shell(f"rabbitmqctl eval '{wanted}.'") == 0
    assert running.shell("rabbitmqctl eval '{ok, 16777216} = application:get_env(rabbit, max_message_size).'") == 0
    assert b"\x1b[" not in running.container.logs()


def test_the_check_tells_a_node_that_does_not_listen(docker_client: Any, queue_image: str) -> None:
    check = docker_client.images.get(queue_image).attrs["Config"]["Healthcheck"]["Test"][1]
    in_definition = definitions.read(definitions.load(QUEUE.definition)).health
    assert in_definition
    assert check == in_definition.command
    with pytest.raises(ContainerError) as caught:
        docker_client.containers.run(queue_image, ["sh", "-c", check], remove=True)
    assert caught.value.exit_status == 1


def test_no_secret_is_in_any_layer(docker_client: Any, queue_image: str) -> None:
    saved = io.BytesIO(b"".join(docker_client.images.get(queue_image).save()))
    with tarfile.open(fileobj=saved) as image:
        layers = json.load(image.extractfile("manifest.json"))[0]["Layers"]  # type: ignore[arg-type]
        names = [name for layer in layers for name in names_in(image.extractfile(layer))]
    assert "etc/rabbitmq/rabbitmq.conf" in names  # else nothing was looked at
    assert [name for name in names if name.endswith(".erlang.cookie")] == []


def names_in(layer: Any) -> list[str]:
    with tarfile.open(fileobj=layer) as files:
        return files.getnames()
