"""Nothing is lost while everything breaks (length and seed: --soak SECONDS, --seed N)."""

import random
from pathlib import Path

import pytest

from tests.conftest import Broker
from tests.soak.soak import Soak


def test_nothing_is_lost(own_broker: Broker, tmp_path: Path, queue_name: str, request: pytest.FixtureRequest) -> None:
    seconds = request.config.getoption("--soak")
    seed = request.config.getoption("--seed") or random.randrange(1_000_000)
    print(f"seed {seed}: repeat with ./inv test --only soak --soak {seconds} --seed {seed}")
    soak = Soak(own_broker, tmp_path, queue_name, seed)
    try:
        tally = soak.run(messages=max(2000, int(seconds * 100)), seconds=seconds)
    finally:
        soak.close()
    print(tally)
    assert tally.lost == set()
    assert tally.unexplained == set()
    assert {body for body in tally.failed if not body.endswith("99")} == set()
