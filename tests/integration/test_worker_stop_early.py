"""SIGTERM while the worker is still on its way to its first message."""

from __future__ import annotations

import itertools
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.network import Network
from tests.integration.worker_rig import Rig
from tests.waiting import until

pytestmark = pytest.mark.broker

# The broker answers less often than this until a worker consumes.
_MOMENTS = range(1, 40)


def _stopped_at(rig: Rig, moment: int) -> tuple[int, str]:
    """Exit code and words of a worker that is told to stop while the broker's answer of this number is on its way.

    When there are not as many answers, it is told when it consumes.
    """
    network, answers = Network(rig.url), itertools.count(1)
    worker = rig.worker("cat", url=network.url, consuming=False)

    def answered() -> None:
        if next(answers) == moment:
            worker.signal(signal.SIGTERM)
            worker.says("stopping")

    network.answered = answered
    network.up()
    until(lambda: "stopping" in worker.log or "consuming from" in worker.log, "it stops or consumes")
    if "stopping" not in worker.log:
        worker.signal(signal.SIGTERM)
    code = worker.exit_code()
    network.down()
    return code, worker.log


def test_a_stop_at_any_moment_of_the_start_ends_in_good_order(rig: Rig) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda moment: _stopped_at(rig, moment), _MOMENTS))
    assert [log for code, log in found if code or "Traceback" in log] == []
    assert "consuming from" not in found[0][1]
    assert "consuming from" in found[-1][1]
