"""Fixtures of the worker's tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.worker_rig import Rig


@pytest.fixture
def rig(request: pytest.FixtureRequest, queue_name: str, tmp_path: Path) -> Iterator[Rig]:
    """A queue of this test's own; CLUSTER_TEST_BROKER and CLUSTER_TEST_MANAGEMENT name a broker that runs already."""
    url = os.environ.get("CLUSTER_TEST_BROKER")
    if url:
        one = Rig(url, os.environ.get("CLUSTER_TEST_MANAGEMENT", ""), queue_name, tmp_path)
    else:
        broker = request.getfixturevalue("broker")
        one = Rig(broker.url, broker.management, queue_name, tmp_path)
    yield one
    one.close()
