"""App definitions as templates: a component's own or a person's, filled and read for an engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from cluster.apps import definitions
from cluster.apps.app import AppSpec, Image
from cluster.apps.definitions import Value
from cluster.apps.flags import AppOverrides
from cluster.components import Component
from scripts.app_id import canonical_app_id
from scripts.errors import ClusterError

# What is added to a definition has to find its place there; all else its engine checks.
_SHAPE: Mapping[str, type] = {
    "env": dict, "labels": dict, "constraints": list, "fetch": list, "container": dict, "container.docker": dict,
    "container.volumes": list,
}  # fmt: skip


class EngineTraits(Protocol):
    """The traits of an engine that make a difference to its apps.

    `address` is where it is (empty: this machine). `is_here` says that apps run on this machine alone, `has_images`
    that they run in containers, `makes_data_folders` that the engine makes folders for their data, as root.
    """

    address: str
    is_here: bool
    has_images: bool
    makes_data_folders: bool

    @property
    def user(self) -> str:
        """The user, in Docker's words, whom files that actions leave should belong to; empty: the image's."""


def app_id_of(overrides: AppOverrides, usual: str) -> str:
    """Return the id that the app will have: --app, else that of the person's own definition, else the usual one."""
    if overrides.definition and not overrides.app_id:
        usual = definitions.load(overrides.source).get("id", "")
        if not isinstance(usual, str) or not usual:
            raise ClusterError(f"{overrides.source}: id is missing: an app needs one, such as /amqp")
    return canonical_app_id(overrides.app_id or usual)


def app_from(
    component: Component, app_id: str, engine: EngineTraits, image: Image, overrides: AppOverrides,
    values: Mapping[str, Value],
) -> AppSpec:  # fmt: skip
    """Return the app of the component's definition, or of the person's own, filled with these values."""
    found: dict[str, Value] = {"IMAGE": image.name, "TAG": image.tag, **values}
    if engine.address:
        found["HOST_PORT"] = engine.address
    source, shown = component.definition, component.definition.name
    if overrides.definition:
        source, shown = overrides.source, str(overrides.source)
    definition = definitions.fill(definitions.load(source), found, shown) | {"id": app_id}
    _check_shape(definition, source, engine.has_images)
    if overrides.constraints:
        definition["constraints"] = [*(definition.get("constraints") or []), *map(list, overrides.constraints)]
    app = definitions.read(definition)
    flagged = {f"--constraint {':'.join(parts)}": list(parts) for parts in overrides.constraints}
    return replace(app, unheld={**app.unheld, **flagged})


def _check_shape(definition: Mapping[str, Any], source: Path, has_image: bool) -> None:
    for path, kind in _SHAPE.items():
        found = definitions.value_at(definition, path.split("."))
        if found is not None and not isinstance(found, kind):
            raise ClusterError(f"{source}: {path} is {found!r}: {'a list' if kind is list else 'an object'} is needed")
    if has_image and not definitions.value_at(definition, ["container", "docker", "image"]):
        raise ClusterError(f'{source}: container.docker.image is missing: write "{{{{IMAGE}}}}" there')
