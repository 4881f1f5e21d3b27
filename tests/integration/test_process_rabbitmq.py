"""RabbitMQ as a plain process, from the same definition as the container."""

import os
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pika
import psutil
import pytest
import requests

from cluster.apps import definitions
from cluster.apps.app import AppSpec
from cluster.schedulers.process.instance import MARK
from cluster.schedulers.process.scheduler import SERVER, Process, ensure_rabbitmq
from cluster.settings import ROOT
from tests.conftest import SETTINGS, own_settings
from tests.deploying import deploy
from tests.waiting import until

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    if not SERVER.exists() and not os.environ.get("CI"):
        pytest.skip(f"RabbitMQ is not installed ({SERVER} is not there)")
    ensure_rabbitmq(print)


@pytest.fixture
def app() -> AppSpec:
    """The queue as the project defines it, on free ports."""
    path = ROOT / "components" / "queue" / "queue-app.json"
    filled = definitions.fill(definitions.load(path), {"IMAGE": "none", "TAG": "none", "QUEUE_HOST": "localhost"})
    return replace(definitions.read(filled), mem_mib=512)


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person with a home and a RabbitMQ of their own."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("RABBITMQ_NODENAME", "rabbit@elsewhere")
    monkeypatch.setenv("RABBITMQ_USE_LONGNAME", "true")
    return home


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def where(run: Path, person: Path) -> Iterator[Process]:
    scheduler = Process(own_settings(run), run, print)
    yield scheduler
    scheduler.stop("/amqp", now=True)


def processes(folder: Path) -> list[psutil.Process]:
    """All that instances below this folder have started."""
    found = []
    for process in psutil.process_iter(["name"]):
        try:
            if process.environ().get(MARK, "").startswith(str(folder)):
                found.append(process)
        except psutil.Error:
            continue
    return found


def connections(process: psutil.Process) -> list[Any]:
    """None of one that has ended meanwhile: RabbitMQ runs a program now and then."""
    try:
        return process.net_connections("inet")
    except psutil.NoSuchProcess:
        return []


@contextmanager
def channel_to(scheduler: Process) -> Iterator[pika.adapters.blocking_connection.BlockingChannel]:
    address = scheduler.address_of("/amqp", "amqp")
    with closing(pika.BlockingConnection(pika.ConnectionParameters(address.host, address.port))) as connection:
        yield connection.channel()


def test_it_answers_when_deploy_returns(where, app):
    deploy(where, app)
    with channel_to(where) as channel:
        assert channel.is_open
    overview = requests.get(
        f"http://{where.address_of('/amqp', 'management')}/api/overview", auth=("guest",) * 2, timeout=10
    )
    assert overview.json()["node"] == f"rabbit-{where._project}@localhost"
    assert "rabbitmq" in requests.get(f"http://{where.address_of('/amqp', 'prometheus')}/metrics", timeout=10).text


def test_it_has_the_limits_of_the_definition_and_of_the_image(where, app):
    deploy(where, app)
    url = f"http://{where.address_of('/amqp', 'management')}/api/nodes"

    def figures() -> Any:
        node = requests.get(url, auth=("guest",) * 2, timeout=10).json()[0]
        return node if "mem_limit" in node else None

    node = until(figures, "the node's statistics")
    assert node["mem_limit"] == int(512 * 1024**2 * 0.6)
    assert node["disk_free_limit"] == 1_000_000_000


def test_it_listens_to_this_machine_only(where, app, run):
    deploy(where, app)
    listening = [c for p in processes(run) for c in connections(p) if c.status == psutil.CONN_LISTEN]
    assert {connection.laddr.ip for connection in listening} <= {"127.0.0.1", "::1"}
    assert len({connection.laddr.port for connection in listening}) == 5  # three, Erlang's distribution and its epmd


def test_a_confirmed_message_outlives_a_kill(where, app):
    deploy(where, app)
    with channel_to(where) as channel:
        channel.queue_declare("kept", durable=True, arguments={"x-queue-type": "quorum"})
        channel.confirm_delivery()
        persistent = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent)
        channel.basic_publish("", "kept", b"work", persistent, mandatory=True)
    where.stop("/amqp", now=True)

    deploy(where, app)
    with channel_to(where) as channel:
        assert channel.basic_get("kept", auto_ack=True)[2] == b"work"


def test_stop_leaves_no_process_behind(where, app, run):
    deploy(where, app)
    assert any(process.info["name"] == "epmd" for process in processes(run))
    where.stop("/amqp")
    assert processes(run) == []


def test_the_cookie_is_with_the_data_and_the_person_s_home_stays_empty(where, app, run, person):
    deploy(where, app)
    cookie = run / where._project / "data" / "amqp" / ".erlang.cookie"
    assert stat.S_IMODE(cookie.stat().st_mode) == 0o400
    assert list(person.iterdir()) == []


def test_two_projects_side_by_side(where, app, run):
    other = Process(replace(SETTINGS, project=f"{where._project}-other"), run, print)
    try:
        deploy(where, app)
        deploy(other, app)
        with channel_to(where) as channel:
            channel.queue_declare("here", durable=True)
        with channel_to(other) as channel, pytest.raises(pika.exceptions.ChannelClosedByBroker):
            channel.queue_declare("here", passive=True)
        assert other.stop("/amqp") is True
        assert where.status()[0].running == 1
    finally:
        other.stop("/amqp", now=True)


def test_delete_data_deletes_the_messages(where, app, run):
    deploy(where, app)
    where.stop("/amqp")
    assert where.delete_data("/amqp") == [str(run / where._project / "data" / "amqp")]
    assert not (run / where._project / "data" / "amqp").exists()
