"""The versions of an app that Marathon keeps, and the one to go back to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cluster.schedulers.docker.parts import data_name
from cluster.schedulers.marathon.api import Api, App
from cluster.schedulers.marathon.comparison import definition_of, is_same
from scripts.errors import ClusterError
from scripts.json_values import mapping, mappings

# As many as an error names.
_NAMED = 5


def history(api: Api, app_id: str) -> Iterator[tuple[str, App]]:
    """The versions of an app with their definitions, newest first, each asked for when it is its turn.

    One that was refused because the app was locked may be among them (GroupManagerImpl.updateRootEither).
    """
    for version in api.versions(app_id):
        found = api.version(app_id, version)
        if found:
            yield version, found


def earlier(api: Api, present: App, to: str) -> dict[str, Any]:
    """The definition of version `to`, without one of the newest that differs, with as many instances as now.

    An app with data is kept where it is.

    Raises:
        ClusterError: there is none.
    """
    app_id = str(present.get("id"))
    found = _named(api, app_id, to) if to else _newest_other(api, app_id, present)
    kept = ("instances", "constraints") if _has_data(present) else ("instances",)
    return definition_of(found) | {key: present[key] for key in kept if key in present}


def _named(api: Api, app_id: str, version: str) -> App:
    found = api.version(app_id, version)
    if found is None:
        known = ", ".join(api.versions(app_id)[:_NAMED])
        raise ClusterError(f"{app_id} has no version {version!r}; the newest are {known}")
    return found


def _newest_other(api: Api, app_id: str, present: App) -> App:
    found = next((old for _, old in history(api, app_id) if not is_same(old, present)), None)
    if found is None:
        raise ClusterError(f"{app_id} has no earlier version that differs from the present one")
    return found


def _has_data(app: App) -> bool:
    volumes = mappings(mapping(app.get("container")).get("volumes"))
    return any(data_name(str(volume.get("hostPath") or "")) for volume in volumes)
