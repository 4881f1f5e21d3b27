"""A worker that reads in a file where the broker is, each time it has to connect."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.network import Network
from tests.integration.worker_rig import Rig, patched
from tests.waiting import until

pytestmark = pytest.mark.broker


def replace(file: Path, text: str) -> None:
    """Put a whole new file in the place of the old one."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


def test_it_and_its_copies_follow_the_file(rig: Rig, places: tuple[Network, Network]) -> None:
    file, (old, new) = rig.tmp / "address", places
    old.up()
    new.up()
    replace(file, f"{old.url}\n")
    worker = rig.worker(rig.action("exit 65"), url=f"@{file}")
    worker.says(f"consuming from {rig.queue!r} at {old.url}")
    rig.publish(b"before")
    assert rig.take_failed()[0].body == b"before"
    replace(file, f"{new.url}\n")
    old.down()
    worker.says(f"consuming from {rig.queue!r} at {new.url}")
    rig.publish(b"after")
    assert rig.take_failed()[0].body == b"after"
    assert worker.stop() == 0


def test_a_file_that_is_missing_empty_or_wrong_is_said_once_and_read_again(
    rig: Rig, places: tuple[Network, Network]
) -> None:
    file, (broker, _) = rig.tmp / "address", places
    broker.up()
    soon = patched("from scripts.worker import reconnect; reconnect.LONGEST_PAUSE_S = 0.2")
    worker = rig.worker("cat", url=f"@{file}", consuming=False, entry=soon)
    for text, said in (
        (None, "no such file"),
        ("\n", "it is empty"),
        ("amqp:/secret@h", "is not shown"),
        (f"{broker.url}\n{broker.url}\n", "more than one line"),
    ):
        if text is not None:
            replace(file, text)
        worker.says(said)
        assert str(file) in worker.log.splitlines()[-1]
    replace(file, broker.url)
    worker.says(f"consuming from {rig.queue!r} at {broker.url}")
    assert [worker.log.count(text) for text in ("no such file", "is empty", "is not shown", "secret")] == [1, 1, 1, 0]
    assert worker.stop() == 0


def test_until_empty_asks_the_management_api_where_the_file_says_that_it_is(rig: Rig) -> None:
    if not rig.management:
        pytest.skip("no management API")
    api, moved = rig.tmp / "api", Network(rig.management)
    replace(api, "http://127.0.0.1:1\n")
    worker = rig.worker("--until-empty", "--management", f"@{api}", "cat", url=f"@{_file(rig)}", consuming=False)
    worker.says("consuming from")
    rig.publish(b"a\n")
    until(lambda: worker.out == b"a\n", "a message")
    moved.up()
    replace(api, moved.url.replace("amqp", "http", 1))
    assert worker.exit_code() == 0
    assert moved.connections > 0
    assert "for this worker's own work only" not in worker.log
    moved.down()


def _file(rig: Rig) -> Path:
    file = rig.tmp / "address"
    file.write_text(rig.url)
    return file
