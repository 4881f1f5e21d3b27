"""The stand-in for Marathon itself: what Marathon's sources say, and a client that knows nothing of us."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.standin import filters
from tests.standin.dialects import CURRENT, TEXT_BY_DEFAULT, V0_8, V1_4, Dialect
from tests.standin.server import Standin

# What is only told if it is asked for.
BOTH = {"tasks", "lastTaskFailure"}


@pytest.fixture
def standin() -> Iterator[Standin]:
    with Standin() as one:
        one.world.put_app({"id": "/foo", "cmd": "sleep 1", "healthChecks": [{"protocol": "COMMAND"}]})
        one.world.put_app({"id": "/group/foobar", "cmd": "sleep 2", "instances": 2})
        one.world.add_task("/foo", ports=(31000,), alive=True)
        one.world.add_task("/foo", ports=(31001,), alive=False)
        one.world.add_task("/group/foobar", state="TASK_STAGING")
        yield one


def get(standin: Standin, path: str, accept: str | None = "application/json") -> requests.Response:
    # requests sends */* of its own; None takes it away.
    return requests.get(standin.url + path, headers={"Accept": accept}, timeout=5, allow_redirects=False)


def of(standin: Standin, path: str) -> Any:
    return get(standin, path).json()


def test_counts_no_task_as_healthy_without_checks(standin: Standin) -> None:
    foo, foobar = of(standin, "/v2/apps/foo")["app"], of(standin, "/v2/apps/group/foobar")["app"]
    assert (foo["tasksRunning"], foo["tasksHealthy"], foo["tasksUnhealthy"]) == (2, 1, 1)
    assert (foobar["tasksStaged"], foobar["tasksHealthy"]) == (1, 0)


def test_leaves_out_what_is_not_set(standin: Standin) -> None:
    assert None not in of(standin, "/v2/apps/foo")["app"].values()
    assert "startedAt" not in of(standin, "/v2/apps/group/foobar")["app"]["tasks"][0]


def test_finds_ids_by_any_part_of_them(standin: Standin) -> None:
    assert [app["id"] for app in of(standin, "/v2/apps?id=FOO")["apps"]] == ["/foo", "/group/foobar"]
    assert "tasks" not in of(standin, "/v2/apps?id=foo")["apps"][0]
    standin.world.fail("/foo", "Container exited with status 1")
    for embed, there in (
        ("tasks", {"tasks"}),
        ("lastTaskFailure", {"lastTaskFailure"}),
        ("failures", BOTH),
        ("x", set()),
    ):
        assert of(standin, f"/v2/apps?id=foo&embed=apps.{embed}")["apps"][0].keys() & BOTH == there


def test_has_three_wrappers_and_none(standin: Standin) -> None:
    assert list(of(standin, "/v2/apps//foo/")) == ["app"]
    assert [app["id"] for app in of(standin, "/v2/apps/group/*")["*"]] == ["/group/foobar"]
    version = of(standin, "/v2/apps/foo/versions")["versions"][0]
    assert of(standin, f"/v2/apps/foo/versions/{version}")["id"] == "/foo"
    assert of(standin, "/v2/deployments") == []


@pytest.mark.parametrize(
    ("dialect", "unasked", "asked"),
    [(CURRENT, 200, 406), (TEXT_BY_DEFAULT, "text/plain", "text/plain"), (V1_4, 200, "text/plain")],
    ids=["1.10", "1.5", "1.4"],
)
def test_lists_tasks_as_text_for_some(dialect: Dialect, unasked: object, asked: object, standin: Standin) -> None:
    standin.dialect = dialect
    for accept, wanted in ((None, unasked), ("text/plain", asked)):
        answer = get(standin, "/v2/apps/foo/tasks", accept)
        assert wanted in (answer.status_code, answer.headers["Content-Type"])
    assert all(task["servicePorts"] == [] for task in of(standin, "/v2/apps/foo/tasks")["tasks"] if dialect is CURRENT)


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/v2/apps/other", 404, "App '/other' does not exist"),
        ("/v2/apps/other/tasks", 404, "App '/other' does not exist"),
        ("/v2/apps/foo/versions/x", 404, "App '/foo' does not exist in version x"),
        ("/v2/other", 500, "URI not found"),
    ],
)
def test_refuses_as_marathon_does(standin: Standin, path: str, status: int, message: str) -> None:
    answer = get(standin, path)
    assert (answer.status_code, answer.json()) == (status, {"message": message})
    assert answer.headers["Cache-Control"] == "no-cache, no-store, must-revalidate"


def test_in_1_4_an_unknown_url_is_a_404(standin: Standin) -> None:
    standin.dialect = V1_4
    assert get(standin, "/v2/other").json() == {"message": "URI not found: /v2/other"}


@pytest.mark.parametrize(
    ("accept", "status", "body"),
    [(None, 200, "pong"), ("text/html", 200, "pong"), ("application/json", 200, '"pong"'), ("image/png", 204, "")],
)
def test_ping(standin: Standin, accept: str | None, status: int, body: str) -> None:
    answer = get(standin, "/ping", accept)
    assert (answer.status_code, answer.text) == (status, body)


def test_a_leader_and_another_one(standin: Standin) -> None:
    assert of(standin, "/v2/leader") == {"leader": standin.address}
    with Standin(standin.world) as other:
        assert get(other, "/v2/info").headers["X-Marathon-Via"] == f"1.1 {other.address}"
        assert "X-Marathon-Via" not in get(standin, "/v2/info").headers


@pytest.mark.parametrize("dialect", [CURRENT, V1_4, V0_8], ids=lambda dialect: dialect.version)
def test_a_client_that_knows_nothing_of_us_reads_it(standin: Standin, dialect: Dialect) -> None:
    """The library `marathon`, which was written against Marathon itself."""
    if os.environ.get("CI"):
        library = importlib.import_module("marathon")
    else:
        library = pytest.importorskip("marathon", reason="the library marathon is not installed")
    standin.dialect = dialect
    standin.world.fail("/foo", "Container exited with status 1")
    standin.filters.append(filters.basic_auth("me", "secret"))
    client = library.MarathonClient(["http://127.0.0.1:1", standin.url], username="me", password="secret", timeout=5)
    app = client.get_app("/foo", embed_tasks=True)
    assert (app.id, app.instances, len(app.tasks)) == ("/foo", 1, 2)
    assert app.last_task_failure.message == "Container exited with status 1"
    assert {task.ports[0] for task in client.list_tasks("/foo")} == {31000, 31001}
    assert {check.alive for task in app.tasks for check in task.health_check_results} == {True, False}
    assert [found.id for found in client.list_apps(app_id="foobar")] == ["/group/foobar"]
    assert client.get_info().version == dialect.version
    assert client.get_leader() == {"leader": standin.address}
    assert client.ping()
    with pytest.raises(library.NotFoundError, match="does not exist"):
        client.get_app("/other")
