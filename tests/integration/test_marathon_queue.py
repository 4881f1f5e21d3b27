"""The queue of a cluster, found through Marathon: publishing to it, also while it moves, its messages, its stop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cluster.operations import operate
from cluster.settings import ROOT
from tests.conftest import SETTINGS, Broker
from tests.integration.marathon_rig import QUEUE_APP
from tests.integration.network import Network
from tests.integration.publishing import Publish, Queue, bodies, publish
from tests.standin.server import Standin
from tests.waiting import until

pytestmark = pytest.mark.broker

MANY = 20_000


@pytest.fixture
def marathon() -> Iterator[Standin]:
    """A Marathon that has the queue's app, of which nothing runs yet."""
    with Standin() as standin:
        standin.world.put_app(QUEUE_APP | {"labels": {"cluster.project": "cluster"}})
        yield standin


def port_of(url: str) -> int:
    return urlsplit(url).port or 0


def inv(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "invoke", *arguments]
    environ = os.environ | {"INVOKE_PROJECT": "cluster"}
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=60)


def test_messages_go_to_where_the_queue_is(marathon: Standin, broker: Broker, queue: Queue) -> None:
    queue.make()
    marathon.world.add_task("/amqp", host="127.0.0.1", ports=[port_of(broker.url), port_of(broker.management)])
    code, err = publish("-m", marathon.address, "-q", queue.name, "--body", "hello")
    assert (code, bodies(queue.take())) == (0, [b"hello"]), err


def test_a_publishing_goes_on_where_the_queue_has_moved_to(
    marathon: Standin, broker: Broker, queue: Queue, tmp_path: Path
) -> None:
    queue.make()
    lines = tmp_path / "lines"
    lines.write_bytes(b"".join(b"line %d\n" % number for number in range(MANY)))
    old, new = Network(broker.url, bytes_per_s=300_000), Network(broker.url)
    old.up()
    task = marathon.world.add_task("/amqp", host="127.0.0.1", ports=[old.port, 1])
    running = Publish("-m", marathon.address, "-q", queue.name, "--file", str(lines))
    until(lambda: queue.ready() > 100)
    new.up()
    marathon.world.apps["/amqp"].tasks.remove(task)
    marathon.world.add_task("/amqp", host="127.0.0.1", ports=[new.port, 1])
    old.down()
    code, err = running.end()
    again = publish("-m", marathon.address, "-q", queue.name, "--file", str(lines), "--resume")
    new.down()
    assert code == 0, err
    assert (again[0], "already, all of it" in again[1]) == (0, True), again
    assert "connected again" in err
    assert {message.body for message in queue.take()} == set(lines.read_bytes().splitlines())


def test_a_queue_that_does_not_run_is_said(marathon: Standin) -> None:
    code, err = publish("-m", marathon.address, "--body", "hello")
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("error: app /amqp has no running instance")


def test_two_places_are_one_too_many(marathon: Standin) -> None:
    code, err = publish("-m", marathon.address, "-u", "amqp://127.0.0.1:1", "--body", "hello")
    assert (code, err) == (1, "error: -u and -m both say where the queue is: give one\n")


def test_status_shows_what_marathon_runs_and_what_is_in_its_queue(
    marathon: Standin, broker: Broker, queue: Queue
) -> None:
    queue.make()
    nothing = inv("status", "-m", marathon.address)
    assert "/amqp" in nothing.stdout
    assert "1 to be started" in nothing.stdout
    ports = [port_of(broker.url), port_of(broker.management)]
    task = marathon.world.add_task("/amqp", host="127.0.0.1", ports=ports)
    publish("-m", marathon.address, "-q", queue.name, "--body", "hello")
    shown = inv("status", "-m", marathon.address).stdout
    assert f"127.0.0.1:{ports[0]},{ports[1]}" in shown
    found = json.loads(inv("status", "-m", marathon.address, "--json").stdout)
    assert [one["name"] for one in found["apps"][0]["instances"]] == [task.id]
    assert [(app["scheduler"], app["id"]) for app in found["apps"]] == [("marathon", "/amqp")]
    assert {each["name"]: each["ready"] for each in found["queues"]}[queue.name] == 1


def test_status_shows_nothing_of_other_projects(marathon: Standin) -> None:
    marathon.world.put_app({"id": "/theirs", "cmd": "sleep 1"})
    shown = inv("status", "-m", marathon.address).stdout
    assert "/theirs" not in shown


def test_a_stop_says_where_the_messages_stay_since_marathon_forgets(marathon: Standin) -> None:
    labels, constraints = {"cluster.project": SETTINGS.project}, [["hostname", "CLUSTER", "agent2"]]
    for app_id, is_told in (("/amqp", True), ("/worker-q", False)):
        said: list[str] = []
        marathon.world.put_app({"id": app_id, "cmd": "sleep 1", "labels": labels, "constraints": constraints})
        operate.stop(operate.target(SETTINGS, app_id, "", marathon.address, said.append), False, said.append)
        assert app_id not in marathon.world.apps
        assert any("--on agent2" in line for line in said) == is_told
