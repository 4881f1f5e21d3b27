"""A copy of what can be read once alone, a pipe or STDIN, so that its items can be read again."""

from __future__ import annotations

import os
import select
import shutil
import sys
from pathlib import Path

from cluster.interrupts import Interrupted
from cluster.settings_files import Say
from scripts.errors import ClusterError

STDIN = 0
_CHUNK_BYTES = 1024 * 1024
# A program that writes to a pipe with a name is there by then, if there is one.
_WRITER_MS = 1000


def is_pipe(file: str) -> bool:
    """Tell whether a file (`-` is STDIN) can be read only once."""
    path = Path(file)
    return file == "-" or (path.exists() and not path.is_file() and not path.is_dir())


def keep(file: str, spool: Path, say: Say) -> None:
    """Copy a pipe (`-` is STDIN) to `spool`, which is there whole or not at all."""
    if file == "-" and sys.stdin is None:
        raise ClusterError("--file -: STDIN is closed; pipe the items in, or name a file")
    if file == "-" and sys.stdin.isatty():
        say("reading items from the terminal, one a line; Ctrl-D ends")
    name = "STDIN" if file == "-" else file
    draft = spool.with_name(f"{spool.name}.draft")
    try:
        draft.unlink(missing_ok=True)
        into = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(STDIN if file == "-" else file, "rb", 0, closefd=file != "-") as reading, open(into, "wb") as writing:  # noqa: PTH123
            shutil.copyfileobj(reading, writing)
            writing.flush()
            os.fsync(into)
        draft.rename(spool)
    except KeyboardInterrupt as interrupt:
        raise Interrupted(f"interrupted while {name} was read; nothing of it is published") from interrupt
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ClusterError(f"{name} cannot be kept in {spool}: {reason}") from error
    finally:
        draft.unlink(missing_ok=True)


def has_changed(file: str, spool: Path, say: Say) -> bool:
    """Tell whether a pipe (`-` is STDIN) brings anything else than its copy; a terminal, or nothing, does not."""
    if file == "-" and sys.stdin is None:
        return False
    name = "STDIN" if file == "-" else file
    try:
        # A pipe with a name would be waited for, until somebody writes to it; a terminal would become that of this
        # process, which its closing would end.
        fd = STDIN if file == "-" else os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        with open(fd, "rb", 0, closefd=file != "-") as reading, spool.open("rb") as kept:
            if os.isatty(fd):
                return False
            os.set_blocking(fd, True)
            waiting = select.poll()
            waiting.register(fd, select.POLLIN)
            if not waiting.poll(_WRITER_MS):
                say(f"waiting for the end of {name}, since it may differ from {spool}")
            is_empty = True
            while chunk := reading.read(_CHUNK_BYTES):
                is_empty = False
                if kept.read(len(chunk)) != chunk:
                    return True
            return not is_empty and bool(kept.read(1))
    except KeyboardInterrupt as interrupt:
        raise Interrupted(f"interrupted while {name} was read; the same command goes on") from interrupt
    except OSError as error:
        raise ClusterError(f"{name} cannot be read: {(error.strerror or str(error)).lower()}") from error
