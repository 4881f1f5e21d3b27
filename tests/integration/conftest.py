"""Fixtures of the worker's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Broker
from tests.integration.worker_rig import Rig


@pytest.fixture
def rig(broker: Broker, queue_name: str, tmp_path: Path) -> Iterator[Rig]:
    """A queue of this test's own on the broker that all share, and workers."""
    one = Rig(broker.url, broker.management, queue_name, tmp_path)
    yield one
    one.close()
