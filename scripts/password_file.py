"""A password of the environment, or out of a file as people and programs leave it there."""

from __future__ import annotations

import os
import select
import stat
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from scripts.errors import ClusterError

# How long whoever writes into a pipe may take: a program may first ask a person.
_PIPE_PATIENCE_S = 30.0

_MOST_BYTES = 4096


def secret_of(name: str, environ: Mapping[str, str]) -> str | None:
    """Return a secret of the environment, or out of the file that NAME_FILE says; None without both."""
    if environ.get(name):
        return environ[name]
    path = environ.get(f"{name}_FILE")
    return password_in(path, f"{name}_FILE") if path else None


def password_in(path: str, variable: str) -> str:
    """Return the one line of the file, or pipe, that a variable names; errors show nothing of what is in it.

    A pipe, such as a shell's `<(...)`, is read once.
    """
    try:
        content = _content(path)
    except OSError as error:
        raise ClusterError(f"{variable}: {path}: {(error.strerror or str(error)).lower()}") from error
    line = content.rstrip(b"\r\n")
    problem = (
        f"more than {_MOST_BYTES} bytes" if len(content) > _MOST_BYTES
        else "a byte order mark at its beginning" if line.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"))
        else "nothing in it" if not line
        else "more than one line" if b"\n" in line or b"\r" in line
        else "a zero byte in it" if b"\0" in line
        else ""
    )  # fmt: skip
    if not problem:
        try:
            return line.decode()
        except UnicodeDecodeError:
            problem = "letters in it that are not UTF-8"
    raise ClusterError(f"{variable}: {path} has {problem}: write the password there as one line of UTF-8")


def _content(path: str) -> bytes:
    """At most a byte more than a password may have; a pipe or device that says nothing is not waited for."""
    kind = Path(path).stat().st_mode
    if stat.S_ISFIFO(kind):
        return _from_pipe(path)
    if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
        raise OSError(0, "no file and no pipe")
    with Path(path).open("rb") as file:
        return file.read(_MOST_BYTES + 1)


@lru_cache
def _from_pipe(path: str) -> bytes:
    """What is written into the pipe, until that ends."""
    content = b""
    deadline = time.monotonic() + _PIPE_PATIENCE_S
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as file:
        ready = select.poll()
        ready.register(file, select.POLLIN)
        while len(content) <= _MOST_BYTES:
            if not ready.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise OSError(0, f"a pipe into which nobody wrote a password within {_PIPE_PATIENCE_S:g} s")
            piece = file.read(_MOST_BYTES + 1)
            if piece is None:  # another reader took it
                continue
            if not piece:
                break
            content += piece
    return content
