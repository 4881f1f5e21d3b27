"""What a GET is answered with (api/v2/*Resource.scala)."""

from __future__ import annotations

from tests.standin.answers import Response, as_json, message
from tests.standin.calls import Call
from tests.standin.canonical import path_id
from tests.standin.rendering import app_json, queue_json, task_json


def info(call: Call) -> Response:
    host, _, port = call.world.leader.partition(":")
    return as_json(
        {
            "name": "marathon",
            "version": call.world.version,
            "buildref": "unknown",
            "elected": True,
            "leader": call.world.leader,
            "frameworkId": f"{call.world.id}-0000",
            "marathon_config": {"hostname": host, "features": [], "mesos_role": "*"},
            "zookeeper_config": {"zk": "zk://localhost:2181/marathon"},
            "http_config": {"http_port": int(port or 8080), "https_port": 8443},
        }
    )


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
