"""A worker that asks Marathon where the broker is, each time it has to connect."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.marathon_rig import QUEUE_APP
from tests.integration.network import Network
from tests.integration.worker_rig import Rig, WorkerProcess
from tests.standin.server import Standin
from tests.standin.world import World
from tests.waiting import until

pytestmark = pytest.mark.broker


@pytest.fixture
def world() -> World:
    """A Marathon that has the queue's app, of which nothing runs yet."""
    world = World()
    world.put_app(QUEUE_APP)
    return world


@pytest.fixture
def marathon(world: World) -> Iterator[Standin]:
    with Standin(world) as standin:
        yield standin


def test_it_finds_the_broker_again_when_it_moves(
    rig: Rig, world: World, marathon: Standin, places: tuple[Network, Network]
) -> None:
    worker = WorkerProcess(["-m", marathon.address, "-a", "amqp", "-q", rig.queue, "cat"], rig.tmp, {})
    worker.says("trying again")
    old, new = places
    old.up()
    task = world.add_task("/amqp", host="127.0.0.1", ports=(old.port,))
    worker.says(f"consuming from {rig.queue!r} at amqp://127.0.0.1:{old.port}")
    rig.publish(b"before\n")
    until(lambda: worker.out == b"before\n", "a message")
    new.up()
    world.apps["/amqp"].tasks.remove(task)
    world.add_task("/amqp", host="127.0.0.1", ports=(new.port,))
    old.down()
    worker.says(f"consuming from {rig.queue!r} at amqp://127.0.0.1:{new.port}")
    rig.publish(b"after\n")
    until(lambda: worker.out == b"before\nafter\n", "a message")
    assert worker.stop() == 0


def test_copies_follow_the_broker_as_well(
    rig: Rig, world: World, marathon: Standin, places: tuple[Network, Network]
) -> None:
    old, new = places
    old.up()
    new.up()
    task = world.add_task("/amqp", host="127.0.0.1", ports=(old.port,))
    arguments = ["-m", marathon.address, "-a", "amqp", "-q", rig.queue, rig.action("exit 65")]
    worker = WorkerProcess(arguments, rig.tmp, {})
    worker.says("consuming from")
    rig.publish(b"before")
    rig.take_failed()
    world.apps["/amqp"].tasks.remove(task)
    world.add_task("/amqp", host="127.0.0.1", ports=(new.port,))
    old.down()
    rig.publish(b"after")
    assert rig.take_failed()[0].body == b"after"
    assert worker.stop() == 0
