from __future__ import annotations

import pytest

from scripts.action.worker_log import say


def test_whatever_is_said_is_one_line_of_printable_text(capfd: pytest.CaptureFixture[str]) -> None:
    say("an id\nwith\r\x1b[2J\x9b and \udcff, ü: failed")
    assert capfd.readouterr().err == "cluster_worker: an id\\nwith\\r\\x1b[2J\\x9b and \\udcff, ü: failed\n"
