"""Changes of apps, each made once: where an answer is lost, Marathon may have made it all the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from cluster.apps.app import Change
from cluster.interrupts import Interrupted
from cluster.schedulers import Say
from cluster.schedulers.marathon.api import Accepted, Api, Locked
from cluster.schedulers.marathon.comparison import differences
from scripts.errors import ServiceAway
from scripts.http_failures import AnswerLost
from scripts.marathon.answers import App

_TRIES = 3
_PAUSE_S = 1

IsMade = Callable[[App | None], bool]


@dataclass(frozen=True)
class Changes:
    """Changes apps of a Marathon, and looks after a lost answer whether it was done."""

    api: Api
    say: Say

    def make(self, change: Change, present: App | None, force: bool) -> Accepted:
        """Tell Marathon to make a change; return what it has named it, also where it is at it already."""
        app_id, wanted = change.app.id, change.sent
        if present is not None and change.kind == "nothing":
            return Accepted.of(present)
        if present is not None and change.kind == "restart":
            version = present.get("version")
            restart = partial(self.api.restart, app_id, force=force)
            return self._once(app_id, restart, lambda now: now is not None and now.get("version") != version)
        is_scaled = change.kind == "scale"
        content = {"instances": change.app.instances} if is_scaled else wanted
        put = partial(self.api.put, app_id, content, force=force, partial=is_scaled)
        return self._once(app_id, put, lambda now: now is not None and not differences(now, wanted))

    def delete(self, app_id: str) -> Accepted:
        """Tell Marathon to delete an app; return what it has named that."""
        return self._once(app_id, partial(self.api.delete, app_id), lambda now: now is None)

    def _once(self, app_id: str, send: Callable[[], Accepted], is_made: IsMade) -> Accepted:
        try:
            return self._sent(app_id, send, is_made)
        except KeyboardInterrupt:
            raise Interrupted(
                f"interrupted: Marathon may change {app_id} all the same; ./inv status -m {self.api.address} shows it"
            ) from None

    def _sent(self, app_id: str, send: Callable[[], Accepted], is_made: IsMade) -> Accepted:
        lost: AnswerLost | None = None
        for _ in range(_TRIES):
            try:
                return send()
            except AnswerLost as error:
                lost = error
                self.say(f"the answer was lost ({error}): looking whether {app_id} was changed")
                time.sleep(_PAUSE_S)
            except Locked:
                # The lock may be that of our own change.
                if lost and (found := self._found(app_id, is_made)):
                    return found
                raise
            if found := self._found(app_id, is_made):
                return found
        assert lost is not None
        raise lost

    def _found(self, app_id: str, is_made: IsMade) -> Accepted | None:
        try:
            app = self.api.app(app_id)
        except ServiceAway as away:
            raise ServiceAway(
                f"{away}; it may have changed {app_id} before: ./inv status -m {self.api.address} tells when it is back"
            ) from away
        return Accepted.of(app or {}) if is_made(app) else None
