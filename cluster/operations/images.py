"""The images in the registry, as a table for people or JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict

from cluster.image_ref import ImageRef
from cluster.images import registry_api
from cluster.operations.status_tables import table
from cluster.settings import Settings


def listed(settings: Settings, *, as_json: bool) -> str:
    """Return the images in the registry."""
    usual = [ImageRef.parse(tag, settings.images).name for tag in (settings.queue.tag, settings.worker.tag)]
    found = registry_api.stored(settings.registry, settings.registry_path, usual)
    if as_json:
        return json.dumps([asdict(image) for image in found], indent=2)
    rows = [(image.name, image.tag, image.digest[:19], f"{image.bytes / 1e6:,.0f} MB") for image in found]
    return table(("NAME", "TAG", "DIGEST", "SIZE"), rows) if rows else f"the registry {settings.images} is empty"
