"""Results that workers keep in a queue."""

from __future__ import annotations

from typing import Any

from commands.map import WHERE
from commands.output import say, settings_of
from commands.task import task


@task(
    needs=("queue", "output"),
    help={
        "queue": "the queue that workers were given with --results",
        "output": "where results go: FILE.jsonl, FILE.csv, FILE.tsv, or FOLDER/ for a file a result",
        "follow": "go on when it is empty, until Ctrl-C",
    }
    | WHERE,
)
def collect(
    c: Any, queue: str = "", output: str = "", follow: bool = False, at: str = "", marathon: str = "", url: str = ""
) -> None:
    """Empty a queue of results into a file or a folder; returns when nothing is left in it."""
    from cluster.operations import results

    results.collect(settings_of(c.config), queue, output, follow=follow, at=at, marathon=marathon, url=url, say=say)
