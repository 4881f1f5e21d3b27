"""Changes whose answer may be lost: look whether Marathon made them before they are sent again."""

from __future__ import annotations

import time
from collections.abc import Callable

from cluster.schedulers import Say
from cluster.schedulers.marathon.api import Accepted, Api, App, Locked
from scripts.errors import ServiceAway
from scripts.http_failures import AnswerLost

_TRIES = 3
_PAUSE_S = 1


Send = Callable[[], Accepted]
IsMade = Callable[[App | None], bool]


def make(api: Api, app_id: str, send: Send, is_made: IsMade, say: Say) -> Accepted:
    """Make a change of an app once, also when an answer is lost: `is_made` sees it in the app (None: it is gone).

    Raises:
        ServiceAway: Marathon cannot be reached, or its answers are lost again and again.
        ClusterError: it refuses.
    """
    lost: AnswerLost | None = None
    for _ in range(_TRIES):
        try:
            return send()
        except AnswerLost as error:
            lost = error
            say(f"the answer was lost ({error}): looking whether {app_id} was changed")
            time.sleep(_PAUSE_S)
        except Locked:
            # The lock may be that of our own change.
            found = lost and _found(api, app_id, is_made)
            if not found:
                raise
            return found
        found = _found(api, app_id, is_made)
        if found:
            return found
    assert lost is not None
    raise lost


def _found(api: Api, app_id: str, is_made: IsMade) -> Accepted | None:
    try:
        app = api.app(app_id)
    except ServiceAway as away:
        raise ServiceAway(
            f"{away}; it may have changed {app_id} before: ./inv status -m {api.address} tells when it is back"
        ) from away
    return Accepted.of(app or {}) if is_made(app) else None
