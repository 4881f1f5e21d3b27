"""Which URL is answered by whom, as in Marathon 1.10."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.standin import reading, writing
from tests.standin.answers import Refused, Request, Response, message
from tests.standin.calls import Call
from tests.standin.world import World


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


_ID = r"/v2/apps/(?P<id>.+)"
ROUTES: list[tuple[str, dict[str, Callable[[Call], Response]]]] = [
    (r"/v2/info", {"GET": reading.info}),
    (r"/v2/apps/?", {"GET": reading.apps, "POST": writing.create_app}),
    (rf"{_ID}/versions/(?P<version>[^/]+)", {"GET": reading.version}),
    (rf"{_ID}/versions", {"GET": reading.versions}),
    (rf"{_ID}/restart", {"POST": writing.restart_app}),
    (_ID, {"GET": reading.app, "PUT": writing.put_app, "DELETE": writing.delete_app}),
    (r"/v2/tasks", {"GET": reading.tasks}),
    (r"/v2/tasks/delete", {"POST": writing.kill_tasks}),
    (r"/v2/queue", {"GET": reading.queue}),
    (r"/v2/deployments", {"GET": reading.deployments}),
    (r"/v2/deployments/(?P<id>[^/]+)", {"DELETE": writing.delete_deployment}),
]
