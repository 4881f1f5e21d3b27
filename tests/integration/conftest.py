"""Fixtures of the worker's and the publisher's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Broker
from tests.integration.network import Network
from tests.integration.publishing import Queue, clean_up
from tests.integration.worker_rig import Rig


@pytest.fixture
def rig(broker: Broker, queue_name: str, tmp_path: Path) -> Iterator[Rig]:
    """A queue of this test's own on the broker that all share, and workers."""
    one = Rig(broker.url, broker.management, queue_name, tmp_path)
    yield one
    one.close()


@pytest.fixture
def queue(broker: Broker, queue_name: str, tmp_path: Path) -> Iterator[Queue]:
    """A queue of this test's own, which is not there yet; publishers end with it."""
    one = Queue(broker.url, queue_name)
    yield one
    one.delete()
    clean_up(tmp_path)


@pytest.fixture
def to(queue: Queue) -> list[str]:
    """Make the queue; return the flags for it."""
    queue.make()
    return ["-u", queue.url, "-q", queue.name]


@pytest.fixture
def places(rig: Rig) -> Iterator[tuple[Network, Network]]:
    """Two addresses of the broker."""
    both = Network(rig.url), Network(rig.url)
    yield both
    for one in both:
        one.down()
