"""A client that knows nothing of us, the library `marathon`, takes an app through its life on the stand-in."""

from __future__ import annotations

import collections
import importlib
import os
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from tests.standin import filters
from tests.standin.asking import Asking, sleeper, two_agents
from tests.standin.server import Standin
from tests.waiting import until

pytestmark = pytest.mark.engine


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The library, with the name that it still expects where Python had it until 3.9."""
    monkeypatch.setattr(collections, "Iterable", Iterable, raising=False)
    if os.environ.get("CI"):
        return importlib.import_module("marathon")
    return pytest.importorskip("marathon", reason="the library marathon is not installed")


@pytest.fixture(scope="module")
def marathon(docker_client: Any) -> Iterator[Asking]:
    with two_agents(docker_client, {}) as asking:
        asking.standin.filters.append(filters.basic_auth("me", "secret"))
        yield asking


@pytest.fixture
def client(library: Any, marathon: Asking) -> Any:
    """Asks a Marathon that is away, then one that is not the leader."""
    with Standin(marathon.standin.world) as follower:
        urls = ["http://127.0.0.1:1", follower.url]
        yield library.MarathonClient(urls, username="me", password="secret", timeout=10)


def wait(client: Any, deployment: str) -> None:
    until(lambda: deployment not in [one.id for one in client.list_deployments()], "the deployment ends")


def test_an_app_lives_and_dies(library: Any, client: Any) -> None:
    created = client.create_app("/x", library.MarathonApp.from_json(sleeper("/x")))
    assert (created.id, created.instances, created.mem) == ("/x", 1, 32)
    wait(client, created.deployments[0].id)
    first = client.get_app("/x")
    assert [task.app_id for task in first.tasks] == ["/x"]

    wait(client, client.scale_app("/x", instances=3)["deploymentId"])
    assert client.get_app("/x").tasks_running == 3

    update = library.MarathonApp(env={"VERSION": "2"}, instances=2)
    wait(client, client.update_app("/x", update)["deploymentId"])
    updated = client.get_app("/x")
    assert (updated.env, updated.tasks_running) == ({"VERSION": "2"}, 2)
    assert client.list_versions("/x")[-1] == first.version

    wait(client, client.rollback_app("/x", first.version)["deploymentId"])
    back = client.get_app("/x")
    assert (back.env, back.instances, back.version > updated.version) == ({}, 1, True)

    wait(client, client.delete_app("/x")["deploymentId"])
    with pytest.raises(library.NotFoundError):
        client.get_app("/x")


def test_a_deployment_that_cannot_end_is_seen_and_ended(library: Any, client: Any) -> None:
    created = client.create_app("/big", library.MarathonApp.from_json(sleeper("/big") | {"cpus": 99}))
    plan = client.list_deployments()[0]
    assert (plan.affected_apps, plan.id) == (["/big"], created.deployments[0].id)
    with pytest.raises(library.exceptions.MarathonHttpError, match="locked"):
        client.scale_app("/big", instances=2)
    client.delete_deployment(plan.id, force=True)
    assert client.list_deployments() == []
    wait(client, client.delete_app("/big")["deploymentId"])


def test_a_refusal_is_told_with_its_details(library: Any, client: Any) -> None:
    with pytest.raises(library.exceptions.MarathonHttpError) as told:
        client.create_app("/bad", library.MarathonApp(cmd="x"))
    assert (told.value.status_code, told.value.error_message) == (422, "Object is not valid")
