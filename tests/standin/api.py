"""What Marathon 1.10 answers to which URL (api/v2/*Resource.scala); dialects.py has what older ones say differently."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.standin.dialects import Dialect
from tests.standin.world import App, Task, World


@dataclass(frozen=True)
class Request:
    """What was asked; header names are in lower case."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Response:
    """What is answered."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


def as_json(content: Any, status: int = 200) -> Response:
    return Response(status, json.dumps(content, separators=(",", ":")).encode())


def message(status: int, text: str) -> Response:
    """Marathon's own form of an error (MarathonExceptionMapper.scala)."""
    return as_json({"message": text}, status)


@dataclass(frozen=True)
class Call:
    """One request on its way to its answer."""

    world: World
    dialect: Dialect
    request: Request
    id: str = ""
    version: str = ""


def answer(world: World, dialect: Dialect, request: Request) -> Response:
    """The API's answer; the world stands still meanwhile."""
    for pattern, respond in ROUTES:
        match = re.fullmatch(pattern, request.path)
        if match and request.method != "GET":
            return message(405, "Method Not Allowed")
        if match:
            with world.lock:
                return respond(Call(world, dialect, request, **match.groupdict()))
    return message(dialect.unknown_url[0], dialect.unknown_url[1].format(path=request.path))


def _ping(call: Call) -> Response:
    """SystemResource.scala: the body depends on Accept, and for most of them there is none."""
    accept = call.request.headers.get("accept", "*/*")
    if accept == "application/json":
        return as_json("pong")
    return Response(200, b"pong", "text/plain") if accept.startswith(("*/*", "text/")) else Response(204)


def _info(call: Call) -> Response:
    host, _, port = call.world.leader.partition(":")
    return as_json(
        {
            "name": "marathon",
            "version": call.dialect.version,
            "buildref": "unknown",
            "elected": True,
            "leader": call.world.leader,
            "frameworkId": "96d7da70-b731-4cfb-96a7-0ee877af615d-0000",
            "marathon_config": {"hostname": host, "features": [], "mesos_role": "*"},
            "zookeeper_config": {"zk": "zk://localhost:2181/marathon"},
            "http_config": {"http_port": int(port or 8080), "https_port": 8443},
        }
    )


def _leader(call: Call) -> Response:
    return as_json({"leader": call.world.leader}) if call.world.leader else message(404, "There is no leader")


def _apps(call: Call) -> Response:
    """AppsResource.index: `id` and `cmd` are looked for anywhere in the text, whatever the case."""
    query = call.request.query
    wanted = {key: query[key][0].lower() for key in ("id", "cmd") if key in query}
    found = [
        app
        for app in call.world.apps.values()
        if all(text in str(app.definition.get(key, "")).lower() for key, text in wanted.items())
    ]
    tasks = {name.rpartition(".")[2] for name in query.get("embed", [])} & {"tasks", "failures"}
    return as_json({"apps": [call.dialect.app(app_json(app, with_tasks=bool(tasks))) for app in found]})


def _app(call: Call) -> Response:
    """AppsResource.show: `group/*` is a list under another name."""
    app_id = path_id(call.id)
    if app_id.endswith("/*"):
        found = [app for name, app in call.world.apps.items() if name.startswith(app_id[:-1])]
        return as_json({"*": [call.dialect.app(app_json(app)) for app in found]})
    app = call.world.apps.get(app_id)
    return as_json({"app": call.dialect.app(app_json(app))}) if app else _no_app(app_id)


def _versions(call: Call) -> Response:
    app = call.world.apps.get(path_id(call.id))
    return as_json({"versions": [app.version]}) if app else _no_app(path_id(call.id))


def _version(call: Call) -> Response:
    """AppVersionsResource.show: the bare app, in no wrapper."""
    app = call.world.apps.get(path_id(call.id))
    if not app or call.version != app.version:
        return message(404, f"App '{path_id(call.id)}' does not exist in version {call.version}")
    return as_json(app.definition | {"version": app.version})


def _app_tasks(call: Call) -> Response:
    """AppTasksResource.index: service ports are always empty here."""
    app = call.world.apps.get(path_id(call.id))
    return _task_list(call, app.tasks, {}) if app else _no_app(path_id(call.id))


def _tasks(call: Call) -> Response:
    apps = call.world.apps
    tasks = [task for app in apps.values() for task in app.tasks]
    return _task_list(call, tasks, {name: _service_ports(app) for name, app in apps.items()})


def _task_list(call: Call, tasks: list[Task], service_ports: dict[str, list[int]]) -> Response:
    """JSON or a table, by Accept and by what the version makes of a missing one."""
    accept = call.request.headers.get("accept", "*/*")
    if accept == "text/plain" or (accept == "*/*" and call.dialect.text_by_default):
        if not call.dialect.has_text:
            return message(406, "Not Acceptable")
        lines = [f"{task.app_id.strip('/').replace('/', '_')}\t0\t{task.host}:{port}\t"
                 for task in tasks for port in task.ports]  # fmt: skip
        return Response(200, "\n".join(lines).encode(), "text/plain")
    listed = [task_json(task) | {"servicePorts": service_ports.get(task.app_id, [])} for task in tasks]
    return as_json({"tasks": [call.dialect.task(task) for task in listed]})


def _queue(call: Call) -> Response:
    return as_json({"queue": call.world.queue})


def app_json(app: App, with_tasks: bool = True) -> dict[str, Any]:
    """The definition and what is known at run time (AppInfoBaseData.scala); unset and empty things are left out."""
    states = [task.state for task in app.tasks]
    results = [[result for result in task.results if result] for task in app.tasks]
    answered: dict[str, Any] = app.definition | {
        "version": app.version,
        "versionInfo": {"lastScalingAt": app.last_scaling, "lastConfigChangeAt": app.last_config_change},
        "tasksStaged": states.count("TASK_STAGING"),
        "tasksRunning": states.count("TASK_RUNNING"),
        "tasksHealthy": sum(bool(each) and all(result["alive"] for result in each) for each in results),
        "tasksUnhealthy": sum(any(not result["alive"] for result in each) for each in results),
        "deployments": [],
    }
    if with_tasks:
        # The order means nothing in Marathon: a client that takes the first one is found out.
        answered["tasks"] = [task_json(task) for task in reversed(app.tasks)]
        answered |= {"lastTaskFailure": app.last_failure} if app.last_failure else {}
    return answered


def task_json(task: Task) -> dict[str, Any]:
    """A task (TaskConversion.scala); one that is not active has no ports, times and version."""
    answered: dict[str, Any] = {
        "id": task.id,
        "appId": task.app_id,
        "host": task.host,
        "state": task.state,
        "ports": task.ports,
        "servicePorts": [],
        "ipAddresses": [{"ipAddress": task.ip, "protocol": "IPv6" if ":" in task.ip else "IPv4"}] if task.ip else [],
        "healthCheckResults": task.results,
        "slaveId": "96d7da70-b731-4cfb-96a7-0ee877af615d-S0",
        "localVolumes": [],
        "role": "*",
    }
    if task.state in ("TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING", "TASK_UNREACHABLE"):
        answered |= {"version": task.version, "stagedAt": task.staged_at}
        return answered | ({"startedAt": task.started_at} if task.started_at else {})
    return answered | {"ports": []}


def path_id(text: str) -> str:
    """PathId.scala: slashes at the ends and double ones do not count."""
    return "/" + "/".join(part for part in text.split("/") if part)


def _no_app(app_id: str) -> Response:
    return message(404, f"App '{app_id}' does not exist")


def _service_ports(app: App) -> list[int]:
    mappings = app.definition.get("container", {}).get("portMappings", [])
    return [mapping.get("servicePort", 0) for mapping in mappings]


ROUTES: list[tuple[str, Callable[[Call], Response]]] = [
    (r"/ping", _ping),
    (r"/", lambda call: Response(302, headers={"Location": "/ui/"})),
    (r"/v2/info", _info),
    (r"/v2/leader", _leader),
    (r"/v2/apps/?", _apps),
    (r"/v2/apps/(?P<id>.+)/versions/(?P<version>[^/]+)", _version),
    (r"/v2/apps/(?P<id>.+)/versions", _versions),
    (r"/v2/apps/(?P<id>.+)/tasks", _app_tasks),
    (r"/v2/apps/(?P<id>.+)", _app),
    (r"/v2/tasks", _tasks),
    (r"/v2/queue", _queue),
    (r"/v2/deployments", lambda call: as_json([])),
]
