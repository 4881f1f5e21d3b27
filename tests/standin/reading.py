"""What a GET is answered with (api/v2/*Resource.scala)."""

from __future__ import annotations

from tests.standin.answers import Response, as_json, message
from tests.standin.calls import Call
from tests.standin.canonical import path_id
from tests.standin.rendering import app_json, queue_json, task_json
from tests.standin.service_ports import service_ports
from tests.standin.state import Task


def ping(call: Call) -> Response:
    """SystemResource.scala: the body depends on Accept, and for most of them there is none."""
    accept = call.request.headers.get("accept", "*/*")
    if accept == "application/json":
        return as_json("pong")
    return Response(200, b"pong", "text/plain") if accept.startswith(("*/*", "text/")) else Response(204)


def info(call: Call) -> Response:
    host, _, port = call.world.leader.partition(":")
    return as_json(
        {
            "name": "marathon",
            "version": call.dialect.version,
            "buildref": "unknown",
            "elected": True,
            "leader": call.world.leader,
            "frameworkId": f"{call.world.id}-0000",
            "marathon_config": {"hostname": host, "features": [], "mesos_role": "*"},
            "zookeeper_config": {"zk": "zk://localhost:2181/marathon"},
            "http_config": {"http_port": int(port or 8080), "https_port": 8443},
        }
    )


def leader(call: Call) -> Response:
    return as_json({"leader": call.world.leader}) if call.world.leader else message(404, "There is no leader")


def apps(call: Call) -> Response:
    """AppsResource.index: `id` and `cmd` are looked for anywhere in the text, whatever the case."""
    query = call.request.query
    wanted = {key: query[key][0].lower() for key in ("id", "cmd") if key in query}
    found = [
        app
        for app in call.world.apps.values()
        if all(text in str(app.definition.get(key, "")).lower() for key, text in wanted.items())
    ]
    embed = {name.rpartition(".")[2] for name in query.get("embed", [])}
    listed = [call.dialect.app(app_json(call.world, app, embed)) for app in found]
    return as_json({"apps": listed})


def app(call: Call) -> Response:
    """AppsResource.show: `group/*` is a list under another name."""
    app_id = path_id(call.id)
    if app_id.endswith("/*"):
        found = [app for name, app in call.world.apps.items() if name.startswith(app_id[:-1])]
        return as_json({"*": [call.dialect.app(app_json(call.world, app)) for app in found]})
    return as_json({"app": call.dialect.app(app_json(call.world, call.app()))})


def versions(call: Call) -> Response:
    """AppVersionsResource.index: the newest first."""
    return as_json({"versions": sorted(call.app().history, reverse=True)})


def version(call: Call) -> Response:
    """AppVersionsResource.show: the bare app, in no wrapper."""
    definition = call.app().history.get(call.version)
    if definition is None:
        return message(404, f"App '{path_id(call.id)}' does not exist in version {call.version}")
    return as_json(definition | {"version": call.version})


def app_tasks(call: Call) -> Response:
    """AppTasksResource.index: service ports are always empty here."""
    return _task_list(call, call.app().tasks, {})


def tasks(call: Call) -> Response:
    """TasksResource.index: the tasks of apps that are there; those of a deleted app are not told, though they run."""
    there = call.world.apps
    wanted = call.request.query.get("status", []) + call.request.query.get("status[]", [])
    states = {f"TASK_{state.upper()}" for state in wanted if state in ("running", "staging")}
    found = [task for app in there.values() for task in app.tasks if not states or task.state in states]
    return _task_list(call, found, {name: service_ports(app.definition) for name, app in there.items()})


def _task_list(call: Call, tasks: list[Task], ports: dict[str, list[int]]) -> Response:
    """JSON or a table, by Accept and by what the version makes of a missing one."""
    accept = call.request.headers.get("accept", "*/*")
    if accept == "text/plain" or (accept == "*/*" and call.dialect.text_by_default):
        if not call.dialect.has_text:
            return message(406, "Not Acceptable")
        lines = [f"{task.app_id.strip('/').replace('/', '_')}\t0\t{task.host}:{port}\t"
                 for task in tasks for port in task.ports]  # fmt: skip
        return Response(200, "\n".join(lines).encode(), "text/plain")
    listed = [task_json(task) | {"servicePorts": ports.get(task.app_id, [])} for task in tasks]
    return as_json({"tasks": [call.dialect.task(task) for task in listed]})


def queue(call: Call) -> Response:
    return as_json({"queue": queue_json(call.world)})


def deployments(call: Call) -> Response:
    """DeploymentsResource.running: a bare array."""
    return as_json([plan.as_json() for plan in call.world.plans])


def events(call: Call) -> Response:
    """HttpEventStreamServlet.scala: a stream for who asks for one."""
    if call.request.headers.get("accept", "").partition(";")[0] != "text/event-stream":
        page = b"<html><head><title>Error 405</title></head><body>HTTP ERROR 405</body></html>"
        return Response(405, page, "text/html;charset=iso-8859-1")
    kinds = call.request.query.get("event_type", [])
    return Response(200, content_type="text/event-stream", stream=call.world.events.stream(kinds, call.world.over))
