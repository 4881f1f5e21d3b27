"""Nothing is lost while everything breaks; its length and seed are flags of `inv test`."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import pytest

from tests.conftest import Broker
from tests.soak.soak import Soak


@pytest.mark.broker
def test_nothing_is_lost(
    own_broker: Broker,
    tmp_path: Path,
    queue_name: str,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    # What becomes of its connections is no news here.
    caplog.set_level(logging.CRITICAL, "pika")
    seconds = request.config.getoption("--soak")
    seed = request.config.getoption("--seed") or random.randrange(1, 1_000_000)
    with capsys.disabled():
        print(f"\nthe soak again: ./inv test --only soak --soak {seconds} --seed {seed}")
    soak = Soak(own_broker, tmp_path, queue_name, seed, seconds)
    try:
        tally = soak.run()
    finally:
        soak.close()
    with capsys.disabled():
        print(tally)
    assert tally.lost == set()
    assert tally.left == 0
    assert not tally.unexplained, "\n".join(map(tally.story, tally.unexplained))
    assert tally.failed_wrongly == set()
