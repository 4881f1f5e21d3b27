"""An app of Marathon's as people know it."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.schedulers.marathon.judgement import status_of
from scripts.hostport import HostPort

OLD, NEW = "2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z"


def task(name: str = "t1", state: str | None = "TASK_RUNNING", **fields: Any) -> dict[str, Any]:
    started = NEW if state in ("TASK_RUNNING", "TASK_KILLING", "TASK_UNREACHABLE") else None
    return {
        "id": name,
        "host": "agent1",
        "state": state,
        "startedAt": started,
        "version": NEW,
        "ports": [31000],
    } | fields


def app(*tasks: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "id": "/x", "instances": len(tasks), "tasks": list(tasks), "version": NEW,
        "versionInfo": {"lastConfigChangeAt": NEW}, "networks": [{"mode": "host"}],
        "portDefinitions": [{"port": 0, "name": "web"}], "container": {"docker": {"image": "x@sha256:1"}},
    } | fields  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "state", "detail"),
    [
        ({}, "running", "on agent1"),
        ({"state": "TASK_STAGING", "startedAt": None}, "starting", "on agent1"),
        ({"state": "TASK_KILLING"}, "stopping", "on agent1, finishing its work"),
        ({"state": "TASK_UNREACHABLE"}, "stopped", "on agent1, its agent cannot be reached"),
        ({"version": OLD}, "running", "on agent1, an earlier version"),
        ({"host": None}, "running", ""),
    ],
    ids=str,
)
def test_a_task_is_an_instance(fields: dict[str, Any], state: str, detail: str) -> None:
    (one,) = status_of(app(task(**fields)), []).instances
    assert (one.name, one.state, one.detail) == ("t1", state, detail)


@pytest.mark.parametrize(
    ("results", "state", "detail"),
    [
        ([{"alive": True}], "running", "on agent1"),
        ([], "starting", "on agent1, not healthy yet"),
        ([None], "starting", "on agent1, not healthy yet"),
        ([{"alive": False, "lastFailureCause": "exit code 7"}], "unhealthy", "on agent1, not healthy: exit code 7"),
    ],
    ids=str,
)
def test_with_checks_its_state_is_what_they_say(results: list[Any], state: str, detail: str) -> None:
    (one,) = status_of(app(task(healthCheckResults=results), healthChecks=[{}]), []).instances
    assert (one.state, one.detail) == (state, detail)


def test_its_ports_are_those_of_its_agent() -> None:
    (one,) = status_of(app(task()), []).instances
    assert one.ports == {"web": HostPort("agent1", 31000)}
    assert one.image == "x@sha256:1"


def test_what_is_over_is_left_out_and_the_oldest_comes_first() -> None:
    tasks = [task("young"), task("over", "TASK_FAILED"), task("old", startedAt=OLD), task("new", "TASK_STAGING")]
    assert [one.name for one in status_of(app(*tasks, instances=3), []).instances] == ["old", "young", "new"]


def test_what_is_wanted_and_not_there_says_why() -> None:
    failure = {"host": "agent1", "message": "Container exited with status 1", "timestamp": NEW, "version": NEW}
    offers = {"rejectSummaryLastOffers": [{"reason": "InsufficientPorts", "declined": 1, "processed": 1}]}
    queue = [{"app": {"id": "/x"}, "delay": {"overdue": True}, "processedOffersSummary": offers}]
    found = status_of(app(task(), instances=3, lastTaskFailure=failure), queue)
    assert (found.running, found.instances[1].state) == (1, "starting")
    assert found.instances[1].detail == (
        "2 to be started; the last one failed on agent1: Container exited with status 1; no agent fits: not enough "
        "free ports, or a fixed hostPort is taken (1 of 1 offers refused)"
    )
