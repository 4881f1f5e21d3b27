"""Questions to Marathon, changes of it, each made once, and its refusals in a line each."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

from cluster.apps.app import Change
from cluster.interrupts import Interrupted
from cluster.schedulers import Say
from cluster.schedulers.marathon.definition import differences
from scripts.errors import ClusterError, ServiceAway
from scripts.http_fetch import AnswerLost
from scripts.marathon.answers import App, mapping, mappings
from scripts.marathon.api import Marathon, NotFound, Refused
from scripts.one_line import one_line

# The form of our definitions, with `networks` and `container.portMappings`, is 1.5's.
_OLDEST = (1, 5)


@dataclass(frozen=True)
class Accepted:
    """A change that Marathon has taken on: the deployment that makes it, and the version that the app gets."""

    deployment: str
    version: str

    @classmethod
    def of(cls, app: App) -> Accepted:
        """Return what works on an app now."""
        under_way = mappings(app.get("deployments")) or [{}]
        return cls(str(under_way[0].get("id") or ""), str(app.get("version") or ""))


class Locked(ClusterError):
    """Another deployment works on the app."""


class Api:
    """Marathon's REST API, as far as deploys need it.

    Every question raises ServiceAway when Marathon cannot be reached, ClusterError when it refuses; every change
    raises AnswerLost, too, when Marathon may have made it.
    """

    def __init__(self, address: str, timeout_s: float = 10, environ: Mapping[str, str] = os.environ) -> None:
        """`address` is as a person wrote it, perhaps several, of which each may take so long to answer."""
        self._marathon, self.address = Marathon(address, "", timeout_s, environ), address
        self.flag = f" -m {address.replace(' ', '')}"

    def check(self) -> None:
        """Refuse what is no Marathon, or one that is too old for our definitions."""
        version = str(self._marathon.get("/v2/info").get("version") or "")
        match = re.match(r"(\d+)\.(\d+)", version)
        if not match:
            raise ClusterError(f"what answers at {self.address} does not say which version of Marathon it is")
        if (int(match[1]), int(match[2])) < _OLDEST:
            raise ClusterError(f"Marathon {version} at {self.address} is too old: 1.5 or a later one is needed")

    def app(self, app_id: str) -> App | None:
        """Return an app with its tasks; None where there is none."""
        try:
            return self._marathon.app(app_id)
        except NotFound:
            return None

    def apps(self) -> list[App]:
        """Return all apps with their tasks."""
        return mappings(self._marathon.get("/v2/apps?embed=apps.tasks&embed=apps.lastTaskFailure", "apps", list))

    def deployments(self) -> list[App]:
        """Return the deployments under way; one that ended, in whichever way, is gone."""
        return mappings(self._marathon.get("/v2/deployments", kind=list))

    def queue(self) -> list[App]:
        """Return what Marathon has yet to start, with why it has not."""
        return self._marathon.queue()

    def task_ids(self, app_id: str) -> set[str]:
        """Return the tasks of an app that are not over, also those of an app that was deleted."""
        tasks = mappings(self._marathon.get("/v2/tasks", "tasks", list))
        return {str(task.get("id")) for task in tasks if task.get("appId") == app_id}

    def versions(self, app_id: str) -> list[str]:
        """Return the versions of an app, newest first."""
        return [str(each) for each in self._marathon.get(f"/v2/apps{app_id}/versions", "versions", list)]

    def version(self, app_id: str, version: str) -> App | None:
        """Return an app's definition of this version; None where there is none."""
        try:
            return mapping(self._marathon.get(f"/v2/apps{app_id}/versions/{version}"))
        except NotFound:
            return None

    def put(self, app_id: str, content: Mapping[str, Any], *, force: bool, partial: bool = False) -> Accepted:
        """Make an app, or change it: into what is given, or with `partial` only what is given."""
        flags = f"force={json.dumps(force)}&partialUpdate={json.dumps(partial)}"
        return self._change("PUT", app_id, f"/v2/apps{app_id}?{flags}", content)

    def restart(self, app_id: str, *, force: bool) -> Accepted:
        """Start every task of an app anew."""
        return self._change("POST", app_id, f"/v2/apps{app_id}/restart?force={json.dumps(force)}")

    def delete(self, app_id: str) -> Accepted:
        """Delete an app, whatever is done to it at the moment; its tasks end later."""
        return self._change("DELETE", app_id, f"/v2/apps{app_id}?force=true")

    def kill(self, app_id: str, task_ids: Collection[str]) -> None:
        """End these tasks, with the time that they were promised; others are started as the app wants them."""
        with self._refusals(app_id):
            self._marathon.send("POST", "/v2/tasks/delete", {"ids": sorted(task_ids)})

    def refuse_locked(self, app_id: str) -> None:
        """Refuse an app on which a deployment works, as Marathon would when something had been done for a change."""
        held = [each for each in self.deployments() if app_id in (each.get("affectedApps") or [])]
        if held:
            raise Locked(self._locked(app_id, {"deployments": held}))

    def _change(self, method: str, app_id: str, path: str, content: Mapping[str, Any] | None = None) -> Accepted:
        with self._refusals(app_id):
            answer = self._marathon.send(method, path, content)
        return Accepted(str(answer.get("deploymentId") or ""), str(answer.get("version") or ""))

    @contextmanager
    def _refusals(self, app_id: str) -> Iterator[None]:
        try:
            yield
        except Refused as refused:
            if refused.status == HTTPStatus.CONFLICT and "deployments" in refused.content:
                raise Locked(self._locked(app_id, refused.content)) from refused
            raise ClusterError(f"{app_id} is refused: {refused}{details(refused.content)}") from refused

    def _locked(self, app_id: str, content: Mapping[str, Any]) -> str:
        """Say who holds the lock, since when and at what, if that deployment is still there."""
        ids = [str(each.get("id")) for each in mappings(content.get("deployments"))]
        held = next((each for each in self.deployments() if each.get("id") in ids), {})
        since = f", since {held['version']}" if held.get("version") else ""
        steps = f", at step {held['currentStep']} of {held['totalSteps']}" if held.get("totalSteps") else ""
        return (
            f"{app_id} is locked by the deployment {', '.join(ids) or '(unnamed)'}{since}{steps}, and nothing was "
            "changed: wait until it ends, or cancel it with --force"
        )


def details(content: Mapping[str, Any]) -> str:
    """Return what Marathon says of each field, as an appendix to its message: a list of fields, a text or nothing."""
    found = content.get("details")
    if isinstance(found, str):
        return f": {one_line(found)}"
    fields = [f"{item.get('path')}: {', '.join(map(str, item.get('errors') or []))}" for item in mappings(found)]
    return f": {one_line('; '.join(sorted(fields)), 2000)}" if fields else ""


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
                f"interrupted: Marathon may change {app_id} all the same; ./inv status{self.api.flag} shows it"
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
                f"{away}; it may have changed {app_id} before: ./inv status{self.api.flag} tells when it is back"
            ) from away
        return Accepted.of(app or {}) if is_made(app) else None
