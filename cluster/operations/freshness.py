"""Workers beside the folders that they come from: whether the actions that they run are as the files are now."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from cluster.apps.app import AppStatus, Image, Instance
from cluster.components import WORKER
from cluster.image_ref import ImageRef
from cluster.images import sources
from cluster.schedulers import Say, Scheduler
from scripts.errors import ClusterError

Found = Sequence[tuple[Scheduler, AppStatus]]

_REGISTRY_S = 2  # how long a registry may take for each answer
_AT_ONCE = 8


def tell_older(image: Image, say: Say) -> None:
    """Say so where an image of the workers was built from other files than are there now."""
    if _differs(image.sources, sources.digest(WORKER)):
        say(
            f"the image {image.tag} has other files than components/worker/ and scripts/ have now: ./inv worker.build "
            "brings them into it"
        )


def older_apps(found: Found) -> list[bool | None]:
    """Return for each app whether workers of it run older actions than the folder has now; None where nobody knows.

    An image tells by its label of which files it was built; on a cluster its registry is asked, once for each image. A
    copy of the files that an engine made tells the same. Other plain processes read an action from the folder whenever
    they run it, so older can only be a worker's own program, and an action that is kept alive: where one of their files
    was changed after the start. Nothing is known of what is no worker, does not run, or has an image that was not built
    here.
    """
    built, now, changed_at = _built_from(found), cache(lambda: sources.digest(WORKER)), cache(sources.changed_at)

    def is_older(engine: Scheduler, app: AppStatus) -> bool | None:
        if not (running := _running(app)):
            return None
        if not engine.has_images and not any(one.sources for one in running):
            loaded = _loaded(app)
            return changed_at(loaded) > min(one.started_at or 0 for one in running) if loaded else None
        each = [_differs(one.sources or built.get(one.image, ""), now()) for one in running]
        return True if True in each else None if None in each else False

    return [is_older(engine, app) for engine, app in found]


def _differs(known: str, now: str) -> bool | None:
    return known != now if known else None


def _running(app: AppStatus) -> list[Instance]:
    """Return the instances of workers that run."""
    is_of_workers = "cluster_worker" in app.spec.command or "QUEUE_NAME" in app.spec.env
    return [one for one in app.instances if one.started_at] if is_of_workers else []


def _loaded(app: AppStatus) -> tuple[Path, ...]:
    """Return the folders whose files plain processes load at their start; none where that is not known."""
    from cluster.apps.component_apps import options_of  # which takes its time, and not every engine needs it

    if (options := options_of(app.spec)) is None:
        return ()
    kept = (WORKER.folder / "scripts",) if options.keep_alive else ()
    return (WORKER.root / "scripts", *kept)


def _built_from(found: Found) -> dict[str, str]:
    """Return the digests of the files of those images of which only their registry knows, as far as it tells."""
    elsewhere = (app for engine, app in found if not engine.is_here)
    images = {one.image for app in elsewhere for one in _running(app) if one.image and not one.sources}
    if not images:
        return {}
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip(images, pool.map(_asked, images), strict=True))


def _asked(image: str) -> str:
    try:
        return _label(image)
    except ClusterError:
        return ""


@cache
def _label(image: str) -> str:
    """Ask an image's registry; what has a digest is the same for ever, and a mere tag may mean another image by now."""
    from cluster.images import registry_api

    ref = ImageRef.parse(image)
    return registry_api.labels_of(ref, _REGISTRY_S).get(sources.LABEL, "") if ref.registry and ref.digest else ""
