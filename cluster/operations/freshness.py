"""Workers beside the folders that they come from: whether the actions that they run are as the files are now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from cluster.apps.app import AppStatus, Image, Instance
from cluster.components import WORKER
from cluster.image_ref import ImageRef
from cluster.images import sources
from cluster.operations.wanted_workers import options_of, queue_of
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

    An image tells by its label of which files it was built. On a cluster its registry is asked, once for each image.
    Plain processes read an action from the folder whenever they run it, so older can only be a worker's own program,
    and an action that is kept alive: where one of their files was changed after the start. Nothing is known of what is
    no worker, does not run, or has an image that was not built here.
    """
    built = _built_from(found) if any(engine.has_images for engine, _ in found) else {}
    now = sources.digest(WORKER)
    return [_is_older(engine, app, built, now) for engine, app in found]


def _is_older(engine: Scheduler, app: AppStatus, built: Mapping[str, str], now: str) -> bool | None:
    running = _running(app)
    if not running:
        return None
    if not engine.has_images:
        return _changed_after(min(one.started_at or 0 for one in running), app)
    each = [_differs(one.sources or built.get(one.image, ""), now) for one in running]
    return True if True in each else None if None in each else False


def _differs(known: str, now: str) -> bool | None:
    return known != now if known else None


def _running(app: AppStatus) -> list[Instance]:
    """Return the instances of workers that run."""
    return [one for one in app.instances if one.started_at] if queue_of(app.spec) else []


def _changed_after(started_at: float, app: AppStatus) -> bool | None:
    if (options := options_of(app.spec)) is None:
        return None
    kept = [WORKER.folder / "scripts"] if options.keep_alive else []
    return sources.changed_at([WORKER.root / "scripts", *kept]) > started_at


def _built_from(found: Found) -> dict[str, str]:
    """Return the digests of the files of those images of which only their registry knows, as far as it tells."""
    elsewhere = (app for engine, app in found if not engine.is_here)
    images = {one.image for app in elsewhere for one in _running(app) if one.image and not one.sources}
    if not images:
        return {}
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
