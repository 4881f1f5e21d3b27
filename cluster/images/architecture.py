"""The architectures of images and machines, in Docker's words, such as amd64 and arm64."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

# Where QEMU and its like say what they run: a file for each architecture.
EMULATORS = "/proc/sys/fs/binfmt_misc"

_RUNS_TOO = {"amd64": {"386"}, "arm64": {"arm"}}
_FOR_QEMU = {"386": "i386", "amd64": "x86_64", "arm64": "aarch64"}


def mismatch(image: Collection[str], machine: str, emulators: Collection[str]) -> str:
    """Return why a machine cannot run an image of these architectures; empty where it can, or nobody knows."""
    able = {machine, *_RUNS_TOO.get(machine, ())}
    emulated = {one for one in image if f"qemu-{_FOR_QEMU.get(one, one)}" in emulators}
    if not machine or not image or (able | emulated) & set(image):
        return ""
    return f"is built for {' and '.join(sorted(image))}, and not for {machine}"


def emulators_here() -> list[str]:
    """Return what this machine emulates, as the names of files."""
    try:
        return [file.name for file in Path(EMULATORS).iterdir()]
    except OSError:
        return []
