"""What POST, PUT, PATCH and DELETE do (api/v2/*Resource.scala)."""

from __future__ import annotations

import re
from typing import Any

from tests.standin.answers import Refused, Response, as_json, invalid, message
from tests.standin.backoff import Backoff
from tests.standin.calls import Call
from tests.standin.canonical import canonical, migrate, path_id
from tests.standin.deployments import cancel, deploy, revert
from tests.standin.keeper import kill
from tests.standin.plans import Plan
from tests.standin.rendering import created_json, task_json
from tests.standin.state import Task
from tests.standin.typecheck import check_types, prune
from tests.standin.validation import validate

_TASK_ID = r"(?P<app>.+)\.(instance-|marathon-)[^.]+(\..+)?"


def create_app(call: Call) -> Response:
    """AppsResource.create: 201 and the app, before its service ports are assigned."""
    sent = call.json()
    check_types(sent, call.dialect.wrong_type)
    call.dialect.refuse_newer(sent)
    definition = _complete(sent)
    app_id = definition["id"]
    if app_id in call.world.apps:
        raise Refused(409, f"An app with id [{app_id}] already exists.")
    plan = deploy(call.world, {app_id: call.world.filled(definition)}, force=_force(call))
    answered = created_json(call.world.apps[app_id], plan.id, definition)
    return as_json(answered, 201, {"Location": app_id, "Marathon-Deployment-Id": plan.id})


def put_app(call: Call) -> Response:
    return _update(call, partial=call.request.says("partialUpdate", True), creates=True)


def patch_app(call: Call) -> Response:
    return _update(call, partial=True, creates=False)


def _update(call: Call, *, partial: bool, creates: bool) -> Response:
    """AppsResource.update: one app; 201 when it was not there."""
    app_id, sent = path_id(call.id), call.json()
    is_new = app_id not in call.world.apps
    if is_new and not creates:
        raise Refused(404, f"App '{app_id}' does not exist")
    definition = _updated(call, app_id, sent, partial and not is_new)
    plan = deploy(call.world, {app_id: definition}, force=_force(call))
    return _result(plan, 201 if is_new else 200, {"Location": app_id} if is_new else {})


def put_apps(call: Call) -> Response:
    """Several apps in one deployment."""
    return _update_all(call, call.request.says("partialUpdate", True), creates=True)


def patch_apps(call: Call) -> Response:
    return _update_all(call, partial=True, creates=False)


def _update_all(call: Call, partial: bool, creates: bool) -> Response:
    sent = call.json()
    if not isinstance(sent, list):
        raise invalid([("", "error.expected.jsarray")], "Invalid JSON")
    for one in sent:
        check_types(one, call.dialect.wrong_type, partial=True)
    if any(one.get("id") is None for one in sent):
        raise Refused(422, "requirement failed: App Update must have app id set")
    wanted = {}
    for one in sent:
        app_id = path_id(one["id"])
        if app_id not in call.world.apps and not creates:
            raise Refused(404, f"App '{app_id}' does not exist")
        wanted[app_id] = _updated(call, app_id, one, partial and app_id in call.world.apps)
    return _result(deploy(call.world, wanted, force=_force(call)))


def _updated(call: Call, app_id: str, sent: Any, partial: bool) -> dict[str, Any]:
    """The definition that an update asks for; the id of the URL counts."""
    check_types(sent, call.dialect.wrong_type, partial=True)
    call.dialect.refuse_newer(sent)
    if not partial:
        return call.world.filled(_complete(sent | {"id": app_id}))
    app = call.world.apps[app_id]
    if sent.get("version") is not None:
        return _earlier(call, app_id, sent)
    update = migrate(prune(sent)) | {"id": app_id}
    return call.world.filled(_complete(_kept_ports(app.definition, update) | update))


def _kept_ports(present: dict[str, Any], update: dict[str, Any]) -> dict[str, Any]:
    """The present definition without the ports that the new kind of network has no use for."""
    on_host = (update.get("networks") or present["networks"])[0].get("mode") == "host"
    if not on_host:
        return {key: value for key, value in present.items() if key != "portDefinitions"}
    container = {key: value for key, value in present.get("container", {}).items() if key != "portMappings"}
    return present | ({"container": container} if container else {})


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


def delete_tasks(call: Call) -> Response:
    """AppTasksResource.deleteMany: all of an app's tasks, or those of one host."""
    host = call.request.query.get("host", ["*"])[0]
    found = [task for task in call.app().tasks if host in ("*", task.host)]
    return _kill(call, found) or as_json({"tasks": [call.dialect.task(task_json(task)) for task in found]})


def delete_task(call: Call) -> Response:
    found = [task for task in call.app().tasks if task.id == call.task]
    if not found:
        return message(404, f"Task '{call.task}' does not exist")
    return _kill(call, found) or as_json({"task": call.dialect.task(task_json(found[0]))})


def kill_tasks(call: Call) -> Response:
    """TasksResource.killTasks: tasks of any app, by id."""
    ids = call.json()["ids"]
    for one in ids:
        if not re.fullmatch(_TASK_ID, one):
            raise Refused(400, f"Invalid task id '{one}'. [{one} (of class java.lang.String)]")
    found = [task for app in call.world.apps.values() for task in app.tasks if task.id in ids]
    return _kill(call, found) or as_json({"tasks": [call.dialect.task(task_json(task)) for task in found]})


def _kill(call: Call, tasks: list[Task]) -> Response | None:
    """Kill them; with `scale` as a deployment, else others will come."""
    scale, wipe = call.request.says("scale", False), call.request.says("wipe", False)
    if scale and wipe:
        raise Refused(400, "You cannot use scale and wipe at the same time.")
    wanted: dict[str, dict[str, Any] | None] = {}
    for task in tasks if scale else []:
        definition = wanted.get(task.app_id) or call.world.apps[task.app_id].definition
        wanted[task.app_id] = definition | {"instances": max(0, definition["instances"] - 1)}
    result = _result(deploy(call.world, wanted, force=_force(call))) if scale else None
    for task in tasks:
        kill(call.world, task)
    return result


def delete_deployment(call: Call) -> Response:
    """Undone by a new deployment; with force just ended: 202 and no body."""
    plan = next((plan for plan in call.world.plans if plan.id == call.id), None)
    if plan is None:
        return message(404, f"DeploymentPlan {call.id} does not exist")
    if _force(call):
        cancel(call.world, plan)
        return Response(202)
    return _result(revert(call.world, plan))


def reset_delay(call: Call) -> Response:
    app = call.world.apps.get(path_id(call.id))
    if app is None or app.launching is None:
        return message(404, f"Application {path_id(call.id)} not found in tasks queue.")
    app.backoff = Backoff()
    return Response(204)


def abdicate(call: Call) -> Response:
    """This Marathon stays the leader; streams end as they would."""
    call.world.events.drop_all()
    return as_json({"message": "Leadership abdicated"})


def _force(call: Call, default: bool = False) -> bool:
    return call.request.says("force", default)


def _result(plan: Plan, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    content = {"version": plan.version, "deploymentId": plan.id}
    return as_json(content, status, {"Marathon-Deployment-Id": plan.id} | (headers or {}))
