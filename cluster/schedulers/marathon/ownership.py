"""Whose an app is: Marathon has one set of ids for everyone, and what is not ours is left alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.schedulers import App
from scripts.errors import ClusterError
from scripts.json_values import mapping

PROJECT = "cluster.project"


def labelled(app: App, project: str) -> dict[str, Any]:
    """The definition with the label by which it is known as the project's."""
    labels = {**(app.definition.get("labels") or {}), PROJECT: project}
    return {**app.definition, "id": app.id, "labels": labels}


def is_ours(app: Mapping[str, Any], project: str) -> bool:
    """Whether the project deployed it."""
    return bool(mapping(app.get("labels")).get(PROJECT) == project)


def refuse_foreign(app: Mapping[str, Any], project: str, doing: str, place: str) -> None:
    """Leave alone what someone else deployed.

    Raises:
        ClusterError: the app bears another project's label, or none.
    """
    if is_ours(app, project):
        return
    label = mapping(app.get("labels")).get(PROJECT)
    whose = f"belongs to the project {label!r}" if label else "was not deployed with these tasks"
    raise ClusterError(
        f"{doing} {app.get('id')}: the app of this name on Marathon at {place} {whose}: give yours another id with "
        f"--app, or take that one over with --force"
    )
