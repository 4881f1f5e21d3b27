"""The code that jobs run, copied to the cluster by its content: what runs keeps what it began with."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pika

from cluster.components import QUEUE, WORKER
from cluster.settings import ROOT

_LEFT_OUT = {"__pycache__"}
_QUEUE_FILES = ("rabbitmq.conf", "rabbitmq-env.conf", "enabled_plugins")
_PROGRAMS = ("cluster_worker", "work_left", "slurm_keeper")
# Programs of the folder scripts/, by the Python that the job has found; the folder has pika beside it.
_LAUNCHER = """#!/bin/sh
exec "${CLUSTER_PYTHON:-python3}" -I -X utf8 "$(dirname "$(readlink -f "$0")")/../scripts" %s "$@"
"""
_DIGITS = 12


@cache
def archive() -> tuple[str, bytes]:
    """Return the code as a tar file, with its digest: programs in bin/, scripts/ with pika, actions/ and queue/.

    Nothing of it is compiled, and pika needs nothing but Python: so the Python of the nodes need not be this one.
    """
    files = dict(_files())
    digest = hashlib.sha256()
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, (data, mode) in sorted(files.items()):
            digest.update(b"%d:%b%d:%b" % (len(name), name.encode(), len(data), data))
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), mode
            tar.addfile(entry, io.BytesIO(data))
    return digest.hexdigest()[:_DIGITS], content.getvalue()


def _files() -> Iterator[tuple[str, tuple[bytes, int]]]:
    for program in _PROGRAMS:
        yield f"bin/{program}", ((_LAUNCHER % program).encode(), 0o700)
    yield "bin/rabbitmq_job", (Path(__file__).with_name("rabbitmq_job").read_bytes(), 0o700)
    for name in _QUEUE_FILES:
        yield f"queue/{name}", ((QUEUE.folder / name).read_bytes(), 0o600)
    folders = {"scripts": ROOT / "scripts", "pika": Path(pika.__file__).parent, "actions": WORKER.folder / "scripts"}
    for place, folder in folders.items():
        for path in folder.rglob("*"):
            if path.is_file() and not _LEFT_OUT & set(path.parts):
                mode = 0o700 if place == "actions" or path.stat().st_mode & 0o100 else 0o600
                yield f"{place}/{path.relative_to(folder)}", (path.read_bytes(), mode)


def digest_of(content: bytes) -> str:
    """Return the name of the folder for a file with this content."""
    return hashlib.sha256(content).hexdigest()[:_DIGITS]
