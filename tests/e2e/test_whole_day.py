"""A whole day of a person's: 3,000 messages, 25 that fail, found, mended, tried again, and waited for."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.conftest import CommandLine

ALL = 3000
MALFORMED = {line: f"x{line}" for line in range(149, ALL, 150)}
# Of these the action needs a file that is not there yet.
EARLY = {line: f"late {line}" for line in range(500, ALL, 500)}

ACTION = """sh -c 'read line; case $line in
  x*) echo "$line is no number" >&2; exit 3;;
  late*) [ -e TABLE ] || { echo "no table" >&2; exit 4; };;
esac; echo "$line" >>DONE'"""


def test_what_failed_is_found_mended_and_done_at_last(inv: CommandLine, tmp_path: Path) -> None:
    is_local = inv.settings.scheduler == "local"
    folder = Path(inv.settings.worker.tmp)
    seen = "/tmp" if is_local else str(folder)
    action = ACTION.replace("TABLE", f"{seen}/table").replace("DONE", f"{seen}/done")
    if is_local:
        inv("queue.build", "-t", "amqp:e2e")
        inv("worker.build", "-t", "worker:e2e")
    inv("queue.run-local", "-t", "amqp:e2e")
    inv("worker.run-local", "-t", "worker:e2e", "--action", action, "--jobs", "4", "--options", "--backoff 0")
    lines = [(MALFORMED | EARLY).get(line, str(line)) for line in range(1, ALL + 1)]
    (tmp_path / "items.txt").write_text("".join(f"{line}\n" for line in lines))

    def done() -> list[str]:
        return sorted((folder / "done").read_text().splitlines())

    # Everything is published, and something failed: the script that waits for it learns so.
    inv("publish", "--file", str(tmp_path / "items.txt"))
    waited = inv.try_("wait")
    assert (waited.returncode, "failed.list" in waited.stderr) == (2, True), waited.stderr
    assert done() == sorted(line for number, line in enumerate(lines, 1) if number not in MALFORMED | EARLY)

    # Which lines were it, and why?
    shown = inv("failed.list")
    assert all(text in shown for text in ("exit 3", "exit 4", "is no number", "no table", str(len(MALFORMED))))
    failed = {one["item"]: one for one in json.loads(inv("failed.list", "--json"))}
    assert failed.keys() == MALFORMED.keys() | EARLY.keys()
    assert {(one["exit"], one["attempts"]) for one in failed.values()} == {(3, 3), (4, 3)}
    first = failed[149]
    assert "x149" in inv("failed.show", "--id", first["id"])

    # What the table was missing for is run again as it is.
    (folder / "table").touch()
    inv("failed.retry", "--exit-code", "4")
    inv("wait")
    assert set(EARLY.values()) < set(done())

    # The malformed lines are mended and published anew.
    inv("failed.export", "--all", "--output", str(tmp_path / "bad.txt"), "--drop")
    bad = (tmp_path / "bad.txt").read_text()
    assert sorted(bad.splitlines()) == sorted(MALFORMED.values())
    (tmp_path / "mended.txt").write_text(bad.replace("x", ""))
    inv("publish", "--file", str(tmp_path / "mended.txt"))
    inv("wait")
    assert done() == sorted(EARLY.get(line, str(line)) for line in range(1, ALL + 1))
    assert json.loads(inv("failed.list", "--json")) == []
