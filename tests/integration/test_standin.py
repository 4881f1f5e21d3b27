"""The stand-in for Marathon itself: what Marathon's sources say that it answers when it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.standin.asking import Asking
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


def of(standin: Standin, path: str) -> Any:
    return Asking(standin).get(path)


def test_counts_no_task_as_healthy_without_checks(standin: Standin) -> None:
    foo, foobar = of(standin, "/v2/apps/foo")["app"], of(standin, "/v2/apps/group/foobar")["app"]
    assert (foo["tasksRunning"], foo["tasksHealthy"], foo["tasksUnhealthy"]) == (2, 1, 1)
    assert (foobar["tasksStaged"], foobar["tasksHealthy"]) == (1, 0)


def test_leaves_out_what_is_not_set(standin: Standin) -> None:
    assert None not in of(standin, "/v2/apps/foo")["app"].values()
    assert "startedAt" not in of(standin, "/v2/apps/group/foobar")["app"]["tasks"][0]


def test_finds_ids_by_any_part_of_them(standin: Standin) -> None:
    assert [app["id"] for app in of(standin, "/v2/apps?id=FOO")["apps"]] == ["/foo", "/group/foobar"]
    standin.world.fail("/foo", "Container exited with status 1")
    for embed, there in (
        ("tasks", {"tasks"}),
        ("lastTaskFailure", {"lastTaskFailure"}),
        ("x", set()),
    ):
        assert of(standin, f"/v2/apps?id=foo&embed=apps.{embed}")["apps"][0].keys() & BOTH == there


def test_has_a_wrapper_for_some_and_none_for_others(standin: Standin) -> None:
    assert list(of(standin, "/v2/apps//foo/")) == ["app"]
    version = of(standin, "/v2/apps/foo/versions")["versions"][0]
    assert of(standin, f"/v2/apps/foo/versions/{version}")["id"] == "/foo"
    assert of(standin, "/v2/deployments") == []


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/v2/apps/other", 404, "App '/other' does not exist"),
        ("/v2/apps/foo/versions/x", 404, "App '/foo' does not exist in version x"),
        ("/v2/other", 500, "URI not found"),
    ],
)
def test_refuses_as_marathon_does(standin: Standin, path: str, status: int, message: str) -> None:
    answer = requests.get(standin.url + path, timeout=5)
    assert (answer.status_code, answer.json()) == (status, {"message": message})
    assert answer.headers["Cache-Control"] == "no-cache, no-store, must-revalidate"


def test_another_marathon_says_whom_it_asked(standin: Standin) -> None:
    with Standin(standin.world) as other:
        assert Asking(other).ask("GET", "/v2/info").headers["X-Marathon-Via"] == f"1.1 {other.address}"
        assert "X-Marathon-Via" not in Asking(standin).ask("GET", "/v2/info").headers
