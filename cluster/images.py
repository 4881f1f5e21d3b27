"""Images: built from a component's Dockerfile, pushed to the registry, named by their content."""

from __future__ import annotations

import subprocess
import textwrap
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import docker
from docker.errors import APIError, DockerException, ImageNotFound

from cluster.components import Component
from cluster.engine import docker_errors
from cluster.image_ref import ImageRef
from cluster.settings import ROOT
from scripts.errors import ClusterError, ServiceAway

# What a failed step printed last, shown with the error.
LAST_LINES = 12


def build(client: docker.DockerClient, component: Component, ref: ImageRef, say: Callable[[str], None]) -> str:
    """Build a component's image under a name; its id. What is not cached is said, a line a step.

    Raises:
        ClusterError: a step failed (with its last lines), or the disk is full.
        ServiceAway: the engine went away.
    """
    with docker_errors(f"build {ref}"):
        events = client.api.build(
            path=str(ROOT),
            dockerfile=str(component.dockerfile.relative_to(ROOT)),
            tag=str(ref),
            labels={"org.opencontainers.image.revision": _revision()},
            rm=True,
            forcerm=True,
            decode=True,
        )
        _follow(f"build {ref}", events, say)
        return str(client.images.get(str(ref)).id)


def push(client: docker.DockerClient, ref: ImageRef, say: Callable[[str], None]) -> str:
    """Push an image to the registry of its name; its digest there (`sha256:...`).

    Raises:
        ClusterError: the registry refuses it; the SDK itself would say nothing.
        ServiceAway: nothing answers there.
    """
    digest = ""
    with docker_errors(f"push {ref}"):
        for event in client.api.push(ref.repository, tag=ref.tag, stream=True, decode=True):
            if problem := problem_of(event):
                raise _push_failure(ref, problem)
            digest = (event.get("aux") or {}).get("Digest", digest)
    if not digest:
        raise ClusterError(f"push {ref}: the registry {ref.registry} named no digest: push it again")
    say(f"pushed {ref}, {digest[:19]}")
    return digest


def deployable(client: docker.DockerClient, ref: ImageRef) -> str:
    """What an app definition calls the image: by its content where its registry holds it, else by its tag.

    Raises:
        ClusterError: it is neither on this machine nor in its registry.
    """
    with docker_errors(f"look for {ref}"):
        try:
            image = client.images.get(str(ref))
        except ImageNotFound:
            image = _pulled(client, ref)
        digests = image.attrs.get("RepoDigests") or []
    return next((known for known in digests if known.rpartition("@")[0] == ref.repository), str(ref))


def problem_of(event: dict[str, Any]) -> str:
    """The error in one event of a build's, push's or pull's stream, else nothing: the SDK raises none of them."""
    return str((event.get("errorDetail") or {}).get("message") or event.get("error") or "")


def _follow(doing: str, events: Iterable[dict[str, Any]], say: Callable[[str], None]) -> None:
    """Say each step that takes work, and is not taken from an earlier build."""
    step = ""
    lines: deque[str] = deque(maxlen=LAST_LINES)
    for event in events:
        text = str(event.get("stream", "")).strip()
        if problem := problem_of(event):
            raise _build_failure(doing, step, problem, lines)
        if text.startswith("Step "):
            step = text.partition(" : ")[2]
            lines.clear()
        elif text.startswith("---> Running in") and step.startswith("RUN "):
            say(f"{doing}: {textwrap.shorten(step, 90, placeholder=' ...')}")
        elif text and not text.startswith("--->"):
            lines.extend(text.splitlines())


def _build_failure(doing: str, step: str, problem: str, lines: Iterable[str]) -> Exception:
    if "no space left on device" in problem.lower():
        full: Exception = DockerException(problem)
        return full
    last = "".join(f"\n    {line}" for line in lines)
    return ClusterError(f"{doing}: the step `{step}` failed: {problem}{last}")


def _push_failure(ref: ImageRef, problem: str) -> Exception:
    lower = problem.lower()
    if "connection refused" in lower or "no such host" in lower or "i/o timeout" in lower:
        return ServiceAway(
            f"push {ref}: no registry answers at {ref.registry}: `./inv registry.up` starts one on this machine"
        )
    if "no space left on device" in lower:
        return ClusterError(f"push {ref}: the disk of the registry {ref.registry} is full")
    return ClusterError(f"push {ref}: the registry {ref.registry} refused: {' '.join(problem.split())}")


def _pulled(client: docker.DockerClient, ref: ImageRef) -> Any:
    try:
        return client.images.pull(ref.repository, tag=ref.tag)
    except APIError as error:
        raise ClusterError(
            f"no image {ref}, neither on this machine nor in its registry: build it with "
            f"`./inv queue.build` or `./inv worker.build`, -t {ref.name}:{ref.tag}"
        ) from error


def _revision() -> str:
    """The commit that the image is built from, with -dirty where files differ from it."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
