"""How the stand-in for Marathon gets images: pulls, their failures, and logins."""

from __future__ import annotations

import io
import json
import tarfile
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest

from cluster.images import base_image
from tests.standin import wire
from tests.standin.asking import Asking
from tests.standin.rig import COMMAND, sleeper, two_agents
from tests.waiting import until

pytestmark = pytest.mark.engine


def archive(config: dict[str, Any]) -> bytes:
    """A docker.tar.gz with this as its .docker/config.json."""
    content, written = json.dumps(config).encode(), io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as tar:
        entry = tarfile.TarInfo(".docker/config.json")
        entry.size, entry.mode = len(content), 0o600
        tar.addfile(entry, io.BytesIO(content))
    return written.getvalue()


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """What the agents have under their paths."""
    return {}


@pytest.fixture(scope="module")
def cluster(docker_client: Any, files: dict[str, bytes]) -> Iterator[Asking]:
    """All tests share it; what they deploy in it goes after each."""
    with two_agents(docker_client, files) as marathon:
        yield marathon


@pytest.fixture
def marathon(cluster: Asking) -> Iterator[Asking]:
    yield cluster
    cluster.delete_all()


class TestAnImage:
    def test_that_cannot_be_pulled_is_told_and_slows_down(self, marathon: Asking) -> None:
        image = "127.0.0.1:1/none:1"
        deployment = marathon.post(sleeper("/none", docker={"image": image}))
        until(lambda: "lastTaskFailure" in marathon.app("/none"), "a failure")
        failure = marathon.app("/none")["lastTaskFailure"]
        wanted = f"Failed to launch container: Failed to run 'docker -H unix:///var/run/docker.sock pull {image}'"
        assert failure["message"].startswith(f"{wanted}: exited with status 1; stderr='Error response from daemon: ")
        assert (failure["state"], failure["appId"]) == ("TASK_FAILED", "/none")
        assert failure["timestamp"] > marathon.app("/none")["version"] == failure["version"]
        assert not marathon.is_done(deployment)

    def test_that_breaks_off_in_the_middle_is_told_too(self, marathon: Asking) -> None:
        with wire.serving(without_blobs) as registry:
            marathon.post(sleeper("/half", docker={"image": f"{registry}/half:1"}))
            failure = until(lambda: marathon.app("/half").get("lastTaskFailure"), "a failure")
            marathon.wait(marathon.delete("/half"))
        assert f"pull {registry}/half:1': exited with status 1; stderr='" in failure["message"]

    def test_that_is_there_is_pulled_only_by_force(self, marathon: Asking, docker_client: Any) -> None:
        docker_client.images.get(base_image.NAME).tag("127.0.0.1:1/there", "1")
        image = {"image": "127.0.0.1:1/there:1"}
        try:
            marathon.wait(marathon.post(sleeper("/there", docker=image)))
            marathon.post(sleeper("/forced", docker=image | {"forcePullImage": True}))
            until(lambda: "lastTaskFailure" in marathon.app("/forced"), "a failure")
        finally:
            marathon.delete_all()
            docker_client.images.remove("127.0.0.1:1/there:1", force=True)

    def test_takes_its_time_and_can_be_given_up(self, marathon: Asking) -> None:
        marathon.standin.world.pull_delay_s = 60
        try:
            deployment = marathon.post(sleeper("/slow"))
            task = until(lambda: marathon.app("/slow")["tasks"], "a task")[0]
            assert (task["state"], marathon.app("/slow")["tasksStaged"]) == ("TASK_STAGING", 1)
            assert "startedAt" not in task
            assert not marathon.is_done(deployment)
            marathon.wait(marathon.delete("/slow"))
        finally:
            marathon.standin.world.pull_delay_s = 0

    def test_is_pulled_with_the_login_that_was_fetched(self, marathon: Asking, files: dict[str, bytes]) -> None:
        heard: list[bytes] = []
        with wire.serving(asking_for_login(heard)) as registry:
            login = b64encode(b"cluster:secret").decode()
            files["/etc/cluster/docker.tar.gz"] = archive({"auths": {registry: {"auth": login}}})
            fetch = [{"uri": "file:///etc/cluster/docker.tar.gz"}]
            marathon.post(sleeper("/private", docker={"image": f"{registry}/private:1"}, fetch=fetch))
            until(lambda: f"Authorization: Basic {login}".encode() in b"".join(heard), "the login")
            marathon.wait(marathon.delete("/private"))

    def test_what_was_fetched_is_in_the_sandbox(self, marathon: Asking, files: dict[str, bytes]) -> None:
        files["/etc/a.tar.gz"] = archive({"auths": {}})
        there = COMMAND | {"command": {"value": "test -s $MESOS_SANDBOX/.docker/config.json"}}
        fetch = [{"uri": "file:///etc/a.tar.gz"}]
        assert marathon.deploy(sleeper("/fetched", fetch=fetch, healthChecks=[there]))["tasksHealthy"] == 1

    def test_does_not_come_when_a_file_is_not_there(self, marathon: Asking) -> None:
        marathon.post(sleeper("/unfetched", fetch=[{"uri": "file:///etc/none"}]))
        until(lambda: "lastTaskFailure" in marathon.app("/unfetched"), "a failure")
        assert "Failed to fetch all URIs" in marathon.app("/unfetched")["lastTaskFailure"]["message"]


def asking_for_login(heard: list[bytes]) -> wire.Conduct:
    """A registry that lets nobody in."""

    def refuse(connection: Any, over: Any) -> None:
        heard.append(connection.recv(65536))
        connection.sendall(
            b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=x\r\n"
            b"Docker-Distribution-Api-Version: registry/2.0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )

    return refuse


def without_blobs(connection: Any, over: Any) -> None:
    """A registry that has every image's manifest, and nothing of what is in it."""
    method, asked = connection.recv(65536).split(b" ")[:2]
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    part = {"mediaType": "application/octet-stream", "size": 1, "digest": "sha256:" + "0" * 64}
    manifest = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": part, "layers": [part]}).encode()
    status, body = ("404 Not Found", b"") if b"/blobs/" in asked else ("200 OK", manifest)
    digest = f"sha256:{sha256(manifest).hexdigest()}"
    headers = f"Content-Type: {kind}\r\nDocker-Content-Digest: {digest}\r\nContent-Length: {len(body)}"
    head = f"HTTP/1.1 {status}\r\n{headers}\r\nConnection: close\r\n\r\n"
    connection.sendall(head.encode() + (b"" if method == b"HEAD" else body))
