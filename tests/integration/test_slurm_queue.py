"""RabbitMQ as a job: on one node after another, with one set of data, and shut to everybody else on its node."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import pika
import pytest
import requests

from cluster.queue.login import QueueLogin, for_queue
from cluster.schedulers.slurm import code
from cluster.settings import ROOT
from tests.slurm.cluster import NODES, SlurmCluster
from tests.waiting import until

pytestmark = pytest.mark.engine

LOGIN = QueueLogin("cluster", "the-password", "01020304", "abcd")
USERS = next(file.content.decode() for file in for_queue(LOGIN).files if file.name == "users.json")
PROGRAM = "code/bin/rabbitmq_job"

JOB = """#!/bin/bash
#SBATCH --mem=1000 --requeue --open-mode=append --output=%j.log
trap 'kill -TERM $pid' TERM
. ./environment
$PROGRAM & pid=$!
while kill -0 $pid 2>/dev/null; do wait $pid; code=$?; done
exit $code
"""


class Queue:
    """A queue of user1's, in a folder of its own that all nodes see."""

    def __init__(self, slurm: SlurmCluster) -> None:
        self.slurm = slurm
        self.folder = f"/home/user1/queue-{secrets.token_hex(4)}"
        self.job = ""
        slurm(f"mkdir -p {self.folder}/app {self.folder}/code")
        slurm.login.container.put_archive(f"{self.folder}/code", code.archive()[1])
        slurm.login.run(f"chown -R user1: {self.folder}")
        self.write("job.sh", JOB)
        self.write("users.json", USERS)
        self.set()

    def set(self, **changes: str) -> None:
        """Say what the job finds in its environment."""
        env: Mapping[str, str] = {
            "PROGRAM": f"{self.folder}/{PROGRAM}",
            "CLUSTER_APP_FOLDER": f"{self.folder}/app", "CLUSTER_DATA_AMQP": f"{self.folder}/data",
            "CLUSTER_QUEUE_CONF": f"{self.folder}/code/queue", "CLUSTER_USERS_FILE": f"{self.folder}/users.json",
            "CLUSTER_RABBITMQ_DIR": "", "CLUSTER_MEM_MIB": "1000", "AMQP_PASSWORD": "somebody's-own",
        } | changes  # fmt: skip
        self.write("environment", "".join(f"export {name}={value!r}\n" for name, value in env.items()))

    def write(self, name: str, content: str) -> None:
        self.slurm(f"umask 077; cat >{self.folder}/{name}", stdin=content)

    def read(self, name: str) -> str:
        return self.slurm.run(f"cat {self.folder}/{name}").stdout

    def start(self, options: str = "-w node1") -> None:
        self.job = self.slurm(f"cd {self.folder} && sbatch --parsable {options} job.sh").strip()

    def answers(self, but: str = "") -> str:
        """Wait until it answers on a node other than `but`; return the node's name."""

        def node() -> str:
            found = self.read("app/address").removeprefix("amqp://").partition(":")[0]
            return found if found != but else ""

        try:
            return str(until(node))
        except TimeoutError as error:
            raise TimeoutError(f"{error}: the queue answers: {self.read(f'{self.job}.log')[-2000:]}") from error

    def address(self, name: str = "amqp") -> tuple[str, int]:
        """Where this machine reaches it."""
        ports = dict(line.split() for line in self.read("app/ports").splitlines())
        node, _, port = ports[name].partition(":")
        return self.slurm.machines[node].ip, int(port)

    def connection(self, user: str = LOGIN.user, password: str = LOGIN.password) -> Any:
        self.answers()
        host, port = self.address()
        login = pika.PlainCredentials(user, password)
        return closing(pika.BlockingConnection(pika.ConnectionParameters(host, port, credentials=login)))

    def publish(self, *bodies: bytes) -> None:
        with self.connection() as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            channel.queue_declare("work", durable=True, arguments={"x-queue-type": "quorum"})
            for body in bodies:
                channel.basic_publish("", "work", body, pika.BasicProperties(delivery_mode=2))

    def bodies(self) -> list[bytes]:
        """Take all messages, which stay."""
        with self.connection() as connection:
            channel = connection.channel()
            count = channel.queue_declare("work", passive=True).method.message_count
            return [channel.basic_get("work")[2] for _ in range(count)]

    def ended(self) -> str:
        """Wait for the end of the job; return its exit code and the signal that ended it."""
        until(lambda: self.shown("JobState") not in {"PENDING", "RUNNING", "COMPLETING"}, "the job has ended")
        return self.shown("ExitCode")

    def shown(self, field: str) -> str:
        """What Slurm says of the job."""
        return dict(word.partition("=")[::2] for word in self.slurm(f"scontrol -o show job {self.job}").split())[field]

    def begin_at_once(self) -> None:
        """Spare a requeued job Slurm's pause of two minutes."""
        until(lambda: self.shown("JobState") == "PENDING", "the job is requeued", 120)
        until(lambda: not self.slurm.run(f"scontrol update jobid={self.job} StartTime=now").returncode, "it begins")

    def processes(self, node: str) -> dict[str, str]:
        """The names of its processes on a node, by their ids."""
        look = "cd /proc; for each in [0-9]*; do echo $(readlink $each/cwd) $each $(<$each/comm); done 2>/dev/null"
        rows = [line.split(" ", 2) for line in self.slurm(look, node=node).splitlines()]
        return {
            number: name
            for folder, number, name in (row for row in rows if len(row) == 3)
            if folder.startswith(self.folder)
        }

    def kill(self, node: str, *names: str) -> None:
        """Kill its processes of these names on a node, without names all."""
        found = [number for number, name in self.processes(node).items() if not names or name in names]
        if found:
            self.slurm.run(f"kill -KILL {' '.join(found)}", node=node)

    def remove(self) -> None:
        if self.job:
            self.slurm.run(f"scancel {self.job}")
            self.ended()
        for node in NODES:
            self.kill(node)
        self.slurm(f"rm -rf {self.folder}")


@contextmanager
def made(slurm: SlurmCluster) -> Iterator[Queue]:
    queue = Queue(slurm)
    try:
        yield queue
    finally:
        queue.remove()


@pytest.fixture
def queue(slurm: SlurmCluster) -> Iterator[Queue]:
    with made(slurm) as queue:
        yield queue


@pytest.fixture(scope="module")
def running(slurm: SlurmCluster) -> Iterator[Queue]:
    """A queue on the first node, for tests that only look."""
    with made(slurm) as queue:
        queue.start()
        queue.answers()
        yield queue


def test_the_program_is_clean() -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    subprocess.run([shellcheck, ROOT / "cluster/schedulers/slurm/rabbitmq_job"], check=True)


def test_it_says_where_it_is_while_it_answers(queue: Queue) -> None:
    queue.start()
    assert queue.answers() == "node1"
    queue.publish(b"one")
    assert queue.read("app/address").strip().removeprefix("amqp://") in queue.read("app/ports")
    host, web = queue.address("management")
    overview = requests.get(f"http://{host}:{web}/api/overview", auth=(LOGIN.user, LOGIN.password), timeout=30)
    assert overview.json()["node"] == "rabbit@localhost"
    modes = queue.slurm(f"cd {queue.folder} && stat -c '%a %n' app/* data data/.erlang.cookie data/lock")
    assert modes.split("\n")[:-1] == [
        "600 app/address", "600 app/ports", "700 data", "400 data/.erlang.cookie", "600 data/lock"
    ]  # fmt: skip
    queue.slurm(f"scancel -b -s TERM {queue.job}")
    assert queue.ended() == "0:0"
    assert queue.slurm(f"ls -A {queue.folder}/app") == ""
    until(lambda: not queue.processes("node1"), "nothing of it runs any longer")


def test_a_requeue_brings_it_to_another_node_with_its_messages(queue: Queue) -> None:
    queue.start("")
    before = queue.answers()
    queue.publish(b"one", b"two")
    queue.slurm(f"scontrol requeue {queue.job}")
    until(lambda: not queue.read("app/address"), "the address is withdrawn")
    queue.slurm(f"scontrol update jobid={queue.job} ExcNodeList={before}")
    queue.begin_at_once()
    assert queue.answers(but=before)
    assert queue.bodies() == [b"one", b"two"]
    assert not queue.processes(before)


def test_a_node_that_is_killed_takes_no_message_with_it(queue: Queue) -> None:
    queue.start("")
    before = queue.answers()
    queue.publish(b"one", b"two")
    queue.slurm.kill_node(before)
    try:
        queue.begin_at_once()
        assert queue.answers(but=before)
        assert queue.bodies() == [b"one", b"two"]
    finally:
        queue.slurm.start_node(before)


def test_whatever_is_killed_the_next_start_works(queue: Queue) -> None:
    queue.start()
    queue.publish(b"one")
    queue.kill("node1", "rabbitmq_job", "rabbitmq-server", "beam.smp", "epmd")
    assert queue.ended() != "0:0"
    assert queue.read("app/address")
    queue.start("-w node2")
    assert queue.answers(but="node1") == "node2"
    assert queue.bodies() == [b"one"]


def test_one_that_still_runs_keeps_others_from_its_data(queue: Queue) -> None:
    """Its script is killed and the job over, as for a node that Slurm has given up; RabbitMQ goes on."""
    direct = f"cd {queue.folder} && . ./environment && exec"
    queue.slurm(f"{direct} setsid -f $PROGRAM >first.log 2>&1 </dev/null", node="node1")
    queue.publish(b"one")
    queue.kill("node1", "rabbitmq_job")
    queue.write("impatient", queue.read(PROGRAM).replace("LOCK_S=300", "LOCK_S=2"))
    refused = queue.slurm.run(f"{direct} bash impatient", node="node2")
    assert refused.returncode == 75
    assert "node1, process " in refused.stderr
    queue.start("-w node2")
    until(lambda: "waits" in queue.read(f"{queue.job}.log"), "the next one waits")
    assert queue.read("app/address").startswith("amqp://node1:")
    (beam,) = [number for number, name in queue.processes("node1").items() if name == "beam.smp"]
    queue.slurm(f"kill -TERM {beam}", node="node1")
    assert queue.answers(but="node1") == "node2"
    assert queue.bodies() == [b"one"]


def test_one_that_waits_can_be_told_to_end(queue: Queue) -> None:
    lock = f"cd {queue.folder} && mkdir data && setsid -f flock data/lock sleep 600 >/dev/null 2>&1 </dev/null"
    queue.slurm(lock, node="node1")
    queue.start()
    until(lambda: "waits" in queue.read(f"{queue.job}.log"), "it waits")
    queue.slurm(f"scancel -b -s TERM {queue.job}")
    assert queue.ended() == "143:0"


TAKES_A_PORT = """#!/bin/bash
if mkdir {folder}/taken 2>/dev/null; then
    python3 -m http.server ${which} 9>&- >/dev/null 2>&1 &
    sleep 1
fi
exec /usr/lib/rabbitmq/bin/rabbitmq-server
"""


@pytest.mark.parametrize("which", ["{RABBITMQ_DIST_PORT}", "(sed -n 's/^listeners.* //p' $RABBITMQ_CONFIG_FILE)"])
def test_a_port_that_somebody_has_just_taken_is_left_to_them(queue: Queue, which: str) -> None:
    queue.slurm(f"mkdir -p {queue.folder}/rabbitmq/sbin")
    queue.write("rabbitmq/sbin/rabbitmq-server", TAKES_A_PORT.format(folder=queue.folder, which=which))
    queue.slurm(f"chmod 700 {queue.folder}/rabbitmq/sbin/rabbitmq-server")
    queue.set(CLUSTER_RABBITMQ_DIR=f"{queue.folder}/rabbitmq")
    queue.start()
    queue.publish(b"one")
    assert "tries others" in queue.read(f"{queue.job}.log")


def test_a_node_without_rabbitmq_is_told_so(queue: Queue) -> None:
    queue.set(CLUSTER_RABBITMQ_DIR="/nowhere")
    queue.start()
    assert queue.ended() == "78:0"
    assert "/nowhere" in queue.read(f"{queue.job}.log")


def test_the_command_of_debian_is_not_what_is_meant(queue: Queue) -> None:
    """It refuses whoever is not root or the user rabbitmq."""
    queue.write("elsewhere", queue.read(PROGRAM).replace("echo /usr/lib/rabbitmq/bin/rabbitmq-server", "true"))
    refused = queue.slurm.run(f"cd {queue.folder} && . ./environment && PATH=$PATH:/usr/sbin bash elsewhere")
    assert refused.returncode == 78


# Another user of the same node

# What the user who runs it may do, and nobody else.
PING = "-eval 'case net_adm:ping(rabbit@localhost) of pong -> halt(0); pang -> halt(1) end.'"
OWN = (
    "cat {folder}/data/.erlang.cookie", "cat {folder}/app/address", "ls {folder}", "cat {folder}/users.json",
    "cat /proc/{beam}/environ",
    f"ERL_EPMD_PORT={{epmd}} HOME={{folder}}/data erl -noinput -sname x@localhost {PING}",
)  # fmt: skip
NOBODYS = (
    "ERL_EPMD_PORT={epmd} epmd -kill | grep -i killed",
    "ERL_EPMD_PORT={epmd} epmd -stop rabbit | grep -i stopped",
    f"ERL_EPMD_PORT={{epmd}} erl -noinput -sname x@localhost -setcookie guess {PING}",
)

# By AMQP, as far as the broker's verdict, and by the management API; from this very node.
LOGS_IN = r"""
import base64, socket, struct, sys, urllib.error, urllib.request
port, web, login = sys.argv[1:]
def part(data, kind="I"):
    return struct.pack(">" + kind, len(data)) + data
user, _, password = login.partition(":")
proof = f"\0{user}\0{password}".encode()
method = struct.pack(">HH", 10, 11) + part(b"") + part(b"PLAIN", "B") + part(proof) + part(b"en_US", "B")
def frame():
    head = stream.read(7)
    return struct.unpack(">HH", stream.read(struct.unpack(">I", head[3:])[0] + 1)[:4]) if head else None
with socket.create_connection(("127.0.0.1", int(port)), timeout=30) as connection:
    stream = connection.makefile("rb")
    connection.sendall(b"AMQP\0\0\x09\x01")
    assert frame() == (10, 10)
    connection.sendall(struct.pack(">BHI", 1, 0, len(method)) + method + b"\xce")
    try:
        print("in" if frame() == (10, 30) else "refused")
    except ConnectionResetError:
        print("refused")
request = urllib.request.Request(f"http://127.0.0.1:{web}/api/overview")
request.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
try:
    print(urllib.request.urlopen(request, timeout=30).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


def test_another_user_of_its_node_gets_in_nowhere(running: Queue) -> None:
    found = {
        "folder": running.folder, "beam": running.slurm("pgrep -u user1 beam.smp", node="node1").strip(),
        "epmd": running.slurm("pgrep -u user1 -a epmd | sed 's/.*-port //'", node="node1").strip(),
    }  # fmt: skip
    for attack in (*OWN, *NOBODYS):
        command = attack.format_map(found)
        tried = running.slurm.run(command, "user2", "node1")
        assert tried.returncode, f"{command}: {tried.stdout}{tried.stderr}"
        # Not because there was nothing to be had.
        assert (running.slurm.run(command, "user1", "node1").returncode == 0) is (attack in OWN), command
    tries = f"python3 - {running.address()[1]} {running.address('management')[1]}"
    for login in ("guest:guest", f"{LOGIN.user}:", f"{LOGIN.user}:guess"):
        assert running.slurm(f"{tries} {login}", "user2", "node1", stdin=LOGS_IN).split() == ["refused", "401"]
    right = f"{LOGIN.user}:{LOGIN.password}"
    assert running.slurm(f"{tries} {right}", "user1", "node1", stdin=LOGS_IN).split() == ["in", "200"]


def test_only_its_two_services_listen_to_other_nodes(running: Queue) -> None:
    rows = [line.split() for line in running.slurm("ss -Hltnp", node="node1").splitlines() if "users:" in line]
    places = {tuple(row[3].rsplit(":", 1)) for row in rows}
    open_to_all = {int(port) for address, port in places if not address.startswith("127.")}
    assert open_to_all == {running.address()[1], running.address("management")[1]}
    assert len(places) == 4


def test_nothing_secret_is_in_its_arguments_or_its_environment(running: Queue) -> None:
    cookie = running.read("data/.erlang.cookie")
    assert len(cookie) == 40
    said = running.slurm(r"cat /proc/$(pgrep -u user1 beam.smp)/{environ,cmdline} | tr '\0' '\n'", node="node1")
    assert "RABBITMQ_NODENAME=rabbit@localhost" in said
    assert cookie not in said
    assert "somebody's-own" not in said
