"""Which URL is answered by whom and with what, as in Marathon 1.10 (api/v2/*Resource.scala)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.standin.answers import Refused, Request, Response, as_json, invalid, message
from tests.standin.canonical import canonical, path_id, without_runtime
from tests.standin.deployments import cancel, deploy, revert
from tests.standin.keeper import kill
from tests.standin.plans import Plan
from tests.standin.rendering import app_json, created_json, queue_json, task_json
from tests.standin.state import App
from tests.standin.validation import check_types, prune, validate
from tests.standin.world import World

_TASK_ID = r"(?P<app>.+)\.(instance-|marathon-)[^.]+(\..+)?"


def answer(world: World, request: Request) -> Response:
    """The API's answer; the world stands still meanwhile."""
    for pattern, methods in ROUTES:
        match = re.fullmatch(pattern, request.path)
        if match is None:
            continue
        if request.method not in methods:
            return message(405, "Method Not Allowed")
        try:
            with world.lock:
                return methods[request.method](Call(world, request, **match.groupdict()))
        except Refused as refused:
            return refused.response
    return message(500, "URI not found")


@dataclass(frozen=True)
class Call:
    """What is asked of which world; `id` and `version` are parts of the path."""

    world: World
    request: Request
    id: str = ""
    version: str = ""

    def app(self) -> App:
        """The app that is asked for; raises Refused (404)."""
        app_id = path_id(self.id)
        if app_id not in self.world.apps:
            raise Refused(404, f"App '{app_id}' does not exist")
        return self.world.apps[app_id]

    def json(self) -> Any:
        """The body; raises Refused (400), with the parser's words as a string."""
        if not self.request.body.strip():
            text = "No content to map due to end-of-input\n at [Source: (byte[])[0 bytes]; line: 1, column: 0]"
            raise Refused(400, "Please specify data in JSON format", details=text)
        try:
            return json.loads(self.request.body)
        except ValueError as error:
            raise Refused(400, "Invalid JSON", details=str(error)) from error


# What a GET is answered with


def info(call: Call) -> Response:
    return as_json({"name": "marathon", "version": "1.10.26", "elected": True, "leader": call.world.leader})


def apps(call: Call) -> Response:
    """AppsResource.index: `id` is looked for anywhere in the text, whatever the case."""
    query = call.request.query
    wanted = query.get("id", [""])[0].lower()
    found = [app for name, app in call.world.apps.items() if wanted in name.lower()]
    embed = {name.rpartition(".")[2] for name in query.get("embed", [])}
    return as_json({"apps": [app_json(call.world, app, embed) for app in found]})


def app(call: Call) -> Response:
    return as_json({"app": app_json(call.world, call.app())})


def versions(call: Call) -> Response:
    """AppVersionsResource.index: the newest first."""
    return as_json({"versions": sorted(call.app().history, reverse=True)})


def version(call: Call) -> Response:
    """AppVersionsResource.show: the bare app, in no wrapper."""
    definition = call.app().history.get(call.version)
    if definition is None:
        return message(404, f"App '{path_id(call.id)}' does not exist in version {call.version}")
    return as_json(definition | {"version": call.version})


def tasks(call: Call) -> Response:
    """TasksResource.index: the tasks of apps that are there; those of a deleted app are not told, though they run."""
    return as_json({"tasks": [task_json(task) for app in call.world.apps.values() for task in app.tasks]})


def queue(call: Call) -> Response:
    return as_json({"queue": queue_json(call.world)})


def deployments(call: Call) -> Response:
    """DeploymentsResource.running: a bare array."""
    return as_json([plan.as_json() for plan in call.world.plans])


# What POST, PUT and DELETE do


def create_app(call: Call) -> Response:
    """AppsResource.create: 201 and the app, before its service ports are assigned."""
    sent = call.json()
    check_types(sent)
    definition = _complete(sent)
    app_id = definition["id"]
    if app_id in call.world.apps:
        raise Refused(409, f"An app with id [{app_id}] already exists.")
    plan = deploy(call.world, {app_id: call.world.filled(definition)}, force=_force(call))
    answered = created_json(call.world.apps[app_id], plan.id, definition)
    return as_json(answered, 201, {"Location": app_id, "Marathon-Deployment-Id": plan.id})


def put_app(call: Call) -> Response:
    """AppsResource.update: one app; 201 when it was not there."""
    app_id, sent = path_id(call.id), call.json()
    is_new = app_id not in call.world.apps
    definition = _updated(call, app_id, sent, call.request.says("partialUpdate", True) and not is_new)
    plan = deploy(call.world, {app_id: definition}, force=_force(call))
    return _result(plan, 201 if is_new else 200, {"Location": app_id} if is_new else {})


def _updated(call: Call, app_id: str, sent: Any, partial: bool) -> dict[str, Any]:
    """The definition that an update asks for; the id of the URL counts."""
    check_types(sent, partial=True)
    if not partial:
        return call.world.filled(_complete(sent | {"id": app_id}))
    if sent.get("version") is not None:
        return _earlier(call, app_id, sent)
    update = without_runtime(prune(sent)) | {"id": app_id}
    return call.world.filled(_complete(call.world.apps[app_id].definition | update))


def _earlier(call: Call, app_id: str, sent: dict[str, Any]) -> dict[str, Any]:
    """A version in an update is the one to go back to, and may come with the id only."""
    if {key for key, value in sent.items() if value is not None} - {"version", "id"}:
        raise invalid([("", "The 'version' field may only be combined with the 'id' field.")])
    found = call.world.apps[app_id].history.get(sent["version"])
    if found is None:
        raise Refused(404, f"App '{app_id}' does not exist")
    return found


def _complete(sent: dict[str, Any]) -> dict[str, Any]:
    """In canonical form and valid."""
    definition = canonical(prune(sent))
    validate(definition)
    return definition


def delete_app(call: Call) -> Response:
    """Forced unless told otherwise; the app is gone at once, its tasks are not."""
    call.app()
    return _result(deploy(call.world, {path_id(call.id): None}, force=_force(call, default=True)))


def restart_app(call: Call) -> Response:
    app = call.app()
    return _result(deploy(call.world, {path_id(call.id): app.definition}, force=_force(call), restart=True))


def kill_tasks(call: Call) -> Response:
    """TasksResource.killTasks: tasks of any app, by id; others come."""
    ids = call.json()["ids"]
    for one in ids:
        if not re.fullmatch(_TASK_ID, one):
            raise Refused(400, f"Invalid task id '{one}'. [{one} (of class java.lang.String)]")
    found = [task for app in call.world.apps.values() for task in app.tasks if task.id in ids]
    for task in found:
        kill(call.world, task)
    return as_json({"tasks": [task_json(task) for task in found]})


def delete_deployment(call: Call) -> Response:
    """Undone by a new deployment; with force just ended: 202 and no body."""
    plan = next((plan for plan in call.world.plans if plan.id == call.id), None)
    if plan is None:
        return message(404, f"DeploymentPlan {call.id} does not exist")
    if _force(call):
        cancel(call.world, plan)
        return Response(202)
    return _result(revert(call.world, plan))


def _force(call: Call, default: bool = False) -> bool:
    return call.request.says("force", default)


def _result(plan: Plan, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    content = {"version": plan.version, "deploymentId": plan.id}
    return as_json(content, status, {"Marathon-Deployment-Id": plan.id} | (headers or {}))


_ID = r"/v2/apps/(?P<id>.+)"
ROUTES: list[tuple[str, dict[str, Callable[[Call], Response]]]] = [
    (r"/v2/info", {"GET": info}),
    (r"/v2/apps/?", {"GET": apps, "POST": create_app}),
    (rf"{_ID}/versions/(?P<version>[^/]+)", {"GET": version}),
    (rf"{_ID}/versions", {"GET": versions}),
    (rf"{_ID}/restart", {"POST": restart_app}),
    (_ID, {"GET": app, "PUT": put_app, "DELETE": delete_app}),
    (r"/v2/tasks", {"GET": tasks}),
    (r"/v2/tasks/delete", {"POST": kill_tasks}),
    (r"/v2/queue", {"GET": queue}),
    (r"/v2/deployments", {"GET": deployments}),
    (r"/v2/deployments/(?P<id>[^/]+)", {"DELETE": delete_deployment}),
]
