"""From a component's folder to an image in the private registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cluster import engine
from cluster.components import Component
from cluster.image_ref import ImageRef, is_local
from cluster.images import build as image_build
from cluster.operations import registry as registries
from cluster.schedulers import Scheduler, selection
from cluster.settings import Settings
from scripts.errors import ClusterError


def build_and_push(
    settings: Settings, component: Component, tag: str, *, push: bool, say: Callable[[str], None]
) -> ImageRef:
    """Build the image and return its name; with `push`, ensure the registry first and push the image there.

    Raises:
        ClusterError: a name that is none, a step that failed, a registry that refuses.
        ServiceAway: no engine, no registry.
    """
    ref = ImageRef.parse(tag, settings.images)
    settings = replace(settings, registry=ref.registry)
    if not selection.SCHEDULERS[settings.scheduler].load().has_images:
        raise ClusterError(
            f"scheduler: {settings.scheduler} in invoke.yaml runs no containers and needs no images: nothing to build"
        )
    client = engine.connect()
    push = push and bool(ref.registry)
    if push:
        if is_local(ref.registry):
            registries.ensure_up(settings, client, _local(settings, say), say)
        image_build.refuse_useless_registry(client, ref)
    image_build.build(client, component, ref, say)
    if push:
        image_build.push(client, ref, say)
    return ref


def _local(settings: Settings, say: Callable[[str], None]) -> Scheduler:
    try:
        return selection.local(settings, say)
    except engine.OtherMachine as error:
        raise ClusterError(
            f"{error}; an image can be built there with --no-push, or for a registry that both machines reach "
            "(registry: in invoke.yaml)"
        ) from error
