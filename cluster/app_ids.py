"""App ids, `/amqp` or `/group/amqp`: Marathon's grammar, and the id of a queue's workers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from scripts.errors import ClusterError

_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_APP_ID = re.compile(rf"(?:/{_LABEL}(?:\.{_LABEL})*)+")
_RESERVED = ("restart", "tasks", "versions")  # the last part of Marathon's own addresses


def parse(text: str) -> str:
    """An app id with its leading slash.

    Raises:
        ClusterError: Marathon would refuse the id.
    """
    app_id = "/" + text.removeprefix("/")
    if not _APP_ID.fullmatch(app_id) or app_id.rpartition("/")[2] in _RESERVED:
        raise ClusterError(
            f"{text!r} is not an app id: use a-z, 0-9 and - in parts joined by /, the last part "
            f"none of {', '.join(_RESERVED)}; for example /amqp"
        )
    return app_id


def worker_id(queue: str) -> str:
    """The app id of a queue's workers, `/worker-<slug>`; several queues can have the same slug.

    Raises:
        ClusterError: the name has nothing that an app id can hold.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", queue.lower()).strip("-")
    if not slug:
        raise ClusterError(f"queue {queue!r}: no app id can be made of this name; give one with --app")
    return f"/worker-{slug}"


def refuse_other_queue(app_id: str, present: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Let nobody replace the workers of another queue whose name has the same slug.

    Args:
        present: the definition that runs under the id; its env QUEUE_NAME has the queue's true name.
        wanted: the definition that shall take its place.

    Raises:
        ClusterError: they serve two queues.
    """
    old, new = (str(definition.get("env", {}).get("QUEUE_NAME", "")) for definition in (present, wanted))
    if old != new:
        raise ClusterError(
            f"{app_id} runs for {_named(old)}, not for {_named(new)}; give this app an id of its own with --app"
        )


def _named(queue: str) -> str:
    return f"queue {queue!r}" if queue else "no queue"
