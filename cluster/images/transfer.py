"""The transfer of an image from this machine's engine to a host's over SSH: the host need not reach anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import docker
from docker.errors import DockerException, ImageNotFound

from cluster.engine.errors import problem_of
from cluster.image_ref import ImageRef
from cluster.terminal.live_line import live_line
from scripts.errors import ClusterError

_PIECE = 1 << 20


def is_there(here: docker.DockerClient, there: docker.DockerClient, ref: ImageRef) -> bool:
    """Return whether the other engine has the very image that has this name here."""
    wanted = here.images.get(str(ref))
    try:
        found = there.images.get(str(ref))
    except ImageNotFound:
        return False
    return found.id == wanted.id or _content(found) == _content(wanted)


def _content(image: Any) -> tuple[Any, ...]:
    """Return what tells images apart even where ids do not: containerd's store computes them in a way of its own."""
    return image.attrs["Created"], image.attrs["RootFS"].get("Layers"), image.attrs["Config"].get("Labels")


def refuse_other_machine(here: docker.DockerClient, there: docker.DockerClient, name: str) -> None:
    """Refuse the host `name` where its machine is of another kind: images run on the kind that they were built on."""
    ours, theirs = here.version()["Arch"], there.version()["Arch"]
    if ours != theirs:
        raise ClusterError(f"{name} is {theirs}, and images built on this machine are for {ours}: choose another host")


def send(
    here: docker.DockerClient, there: docker.DockerClient, ref: ImageRef, name: str, say: Callable[[str], None]
) -> None:
    """Send an image to the engine of the host `name`."""
    image = here.images.get(str(ref))
    size = int(image.attrs["Size"])
    say(f"sending {ref} to {name} ({size / 1e6:,.0f} MB)")
    with live_line(f"send {ref} to {name}") as show:
        pieces = image.save(chunk_size=_PIECE, named=str(ref))
        events = there.api.load_image(_counted(pieces, lambda sent: show(f"{sent / 1e6:.0f} of {size / 1e6:.0f} MB")))
        problem = next(filter(None, [problem_of(event) for event in events]), "")  # to the end of the stream
    if problem:
        raise DockerException(problem)


def _counted(pieces: Iterable[bytes], show: Callable[[int], None]) -> Iterator[bytes]:
    sent = 0
    for piece in pieces:
        sent += len(piece)
        show(sent)
        yield piece
