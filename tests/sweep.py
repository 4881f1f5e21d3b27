"""Run every command with each of its streams as it should not be; prints what came of it, a JSON list.

Each runs in a fork of this process, which has imported everything: that is what makes some hundred of them cheap.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import tasks
from cluster.settings import ROOT
from commands.program import Inv
from scripts import streams

# Most modules load these only when they are needed, which would be in each fork anew.
LIBRARIES = ("docker", "fabric", "paramiko", "pika", "requests", "rich.live", "rich.progress")

# What would start something here is only asked how it is used; what can be tried dry is.
HELP_ALONE = {"demo", "test"}
# Beside every command as it stands: such as print a result here, with a letter that not every alphabet has.
PRINTING = (
    ["--list"],
    ["--version"],
    ["publish", "--body", "é", "--dry-run", "--json"],
    ["agents.run", "--hosts", "a", "--command", "echo é", "--dry-run"],
    ["worker.run-local", "--action", "wordcount.sh é", "--dry-run"],
    ["worker.run-local", "-q", "no é", "-u", "amqp://é:5672", "--dry-run"],
    ["publish", "-q", "é" * 300, "--body", "x"],
    ["é"],
)
STREAMS: dict[str, Callable[[], None]] = {
    "as they are": lambda: None,
    "no STDIN": lambda: _close(0),
    "no STDOUT": lambda: _close(1),
    "no STDERR": lambda: _close(2),
    "full STDOUT": lambda: _fill(1),
    "full STDERR": lambda: _fill(2),
    "ASCII": lambda: _ascii(),
}


def lines() -> Iterator[list[str]]:
    """Every command line to be tried."""
    for name in tasks.namespace.task_names:
        flags = {argument.name for argument in tasks.namespace[name].get_arguments()}
        yield [name, *["--help"] * (name in HELP_ALONE), *["--dry-run"] * ("dry_run" in flags)]
    yield from PRINTING


def main() -> None:
    """Try them all."""
    for path in (ROOT / "cluster").rglob("[a-z]*.py"):
        import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    for name in LIBRARIES:
        import_module(name)
    print(json.dumps([tried(words, how) for words in lines() for how in STREAMS]))


def tried(words: list[str], how: str) -> dict[str, Any]:
    """What one command line does with streams like this."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if not child:
            _become(words, how, out.fileno(), err.fileno())
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said = {"code": code, "out": _text(out), "err": _text(err)}
    return {"words": " ".join(words), "streams": how} | said


def _text(file: Any) -> str:
    file.seek(0)
    return str(file.read().decode())


def _become(words: list[str], how: str, out: int, err: int) -> None:
    """Be the program, as Python starts it, in this process, and end."""
    os.dup2(out, 1)
    os.dup2(err, 2)
    STREAMS[how]()
    sys.argv = ["inv", "--search-root", str(ROOT), *words]
    code: object = 99
    try:
        streams.run(Inv().main)
    except SystemExit as end:
        code = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    os._exit(code if isinstance(code, int) else int(code is not None))


def _close(stream: int) -> None:
    os.close(stream)
    setattr(sys, ("stdin", "stdout", "stderr")[stream], None)


def _fill(stream: int) -> None:
    os.dup2(os.open("/dev/full", os.O_WRONLY), stream)


def _ascii() -> None:
    for stream, name in ((1, "stdout"), (2, "stderr")):
        setattr(sys, name, io.TextIOWrapper(io.FileIO(stream, "w", closefd=False), "ascii"))


if __name__ == "__main__":
    main()
