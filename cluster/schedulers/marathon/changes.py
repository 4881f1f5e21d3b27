"""Changes whose answer may be lost: look whether Marathon made them before they are sent again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from cluster.schedulers import Say
from cluster.schedulers.marathon.api import Accepted, Api, App, Locked
from scripts.errors import ServiceAway
from scripts.http_failures import AnswerLost
from scripts.json_values import mappings

_TRIES = 3
_PAUSE_S = 1


@dataclass(frozen=True)
class Request:
    """A change of an app: `send` makes it, `is_made` sees it in the app (None: there is no app any more)."""

    app_id: str
    send: Callable[[], Accepted]
    is_made: Callable[[App | None], bool]


def make(api: Api, request: Request, say: Say) -> Accepted:
    """Make a change once, also when an answer is lost.

    Raises:
        ServiceAway: Marathon cannot be reached, or its answers are lost again and again.
        ClusterError: it refuses.
    """
    lost: AnswerLost | None = None
    for _ in range(_TRIES):
        try:
            return request.send()
        except AnswerLost as error:
            lost = error
            say(f"the answer was lost ({error}): looking whether {request.app_id} was changed")
            time.sleep(_PAUSE_S)
        except Locked:
            # The lock may be that of our own request.
            found = lost and _found(api, request)
            if not found:
                raise
            return found
        found = _found(api, request)
        if found:
            return found
    assert lost is not None
    raise lost


def _found(api: Api, request: Request) -> Accepted | None:
    try:
        app = api.app(request.app_id)
    except ServiceAway as away:
        raise ServiceAway(
            f"{away}; it may have changed {request.app_id} before: ./inv status -m {api.address} tells when it is back"
        ) from away
    if not request.is_made(app):
        return None
    under_way = mappings((app or {}).get("deployments"))
    return Accepted(str(under_way[0].get("id")) if under_way else "", str((app or {}).get("version") or ""))
