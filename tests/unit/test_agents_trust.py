"""Trust and pulls: what is written where, and what an engine's words mean."""

import gzip
import io
import json
import tarfile
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from urllib3.exceptions import IncompleteRead, ProtocolError

from cluster.engine.pulls import Progress
from cluster.hosts.remote import engine_errors
from cluster.images.registry_login import Access
from cluster.operations.agents.images import archive, explained, parsed, store_of, with_login
from scripts.errors import ServiceAway

REGISTRY = "registry.example:5000"
ACCESS = Access("cluster", "secret")
LOGIN = {"auth": "Y2x1c3RlcjpzZWNyZXQ="}


def unpacked(content: bytes) -> Any:
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as tar:
        (entry,) = tar.getmembers()
        member = tar.extractfile(entry)
        assert member
        assert (entry.name, entry.mode) == (".docker/config.json", 0o600)
        return json.loads(member.read())


@pytest.mark.parametrize("config", [{}, {"auths": None}, {"auths": {}}])
def test_a_login_is_added(config: dict[str, Any]) -> None:
    assert with_login(config, REGISTRY, ACCESS) == {"auths": {REGISTRY: LOGIN}}


def test_all_else_is_kept() -> None:
    before = {"auths": {"a": {"auth": "x"}, REGISTRY: {"auth": "old", "email": "e"}}, "credHelpers": {"b": "c"}}
    after = with_login(before, REGISTRY, ACCESS)
    assert after == {"auths": {"a": {"auth": "x"}, REGISTRY: LOGIN}, "credHelpers": {"b": "c"}}
    assert with_login(after, REGISTRY, ACCESS) == after


def test_the_store_of_a_registry_goes_before_that_of_all() -> None:
    assert store_of({}, REGISTRY) == ""
    assert store_of({"credsStore": "pass"}, REGISTRY) == "pass"
    assert store_of({"credsStore": "pass", "credHelpers": {REGISTRY: "ecr"}}, REGISTRY) == "ecr"
    assert store_of({"credsStore": None, "credHelpers": None}, REGISTRY) == ""


@pytest.mark.parametrize("content", [None, b"", b" \n", b"{}"])
def test_an_empty_configuration_is_none(content: bytes | None) -> None:
    assert parsed(content) == {}


@pytest.mark.parametrize("content", [b"{", b"[]", b'"x"', b'{"auths": "x"}', b"\xff"])
def test_what_docker_would_not_write_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (json's own, too)
        parsed(content)


def test_the_archive_for_mesos_holds_logins_alone_and_is_always_the_same() -> None:
    first = archive(None, REGISTRY, ACCESS)
    assert unpacked(first) == {"auths": {REGISTRY: LOGIN}}
    assert archive(first, REGISTRY, ACCESS) == first
    second = archive(first, "other:5000", Access("a", "b"))
    assert unpacked(second) == {"auths": {REGISTRY: LOGIN, "other:5000": {"auth": "YTpi"}}}
    assert archive(archive(None, "other:5000", Access("a", "b")), REGISTRY, ACCESS) == second


@pytest.mark.parametrize(
    "broken",
    [b"x", gzip.compress(b"x"), gzip.compress(b""), archive(None, "a", ACCESS)[:-9]],
    ids=["no archive", "no tar", "empty", "cut off"],
)
def test_a_broken_archive_is_made_anew(broken: bytes) -> None:
    assert unpacked(archive(broken, REGISTRY, ACCESS))["auths"][REGISTRY] == LOGIN


def test_progress_counts_what_came_of_all_layers() -> None:
    progress = Progress()
    assert str(progress) == "asks the registry"
    for event in (
        {"status": "Pulling from worker", "id": "v1"},
        {"status": "Downloading", "id": "a", "progressDetail": {"current": 1_000_000, "total": 4_000_000}},
        {"status": "Downloading", "id": "b", "progressDetail": {"current": 2_000_000, "total": 6_000_000}},
        {"status": "Downloading", "id": "a", "progressDetail": {"current": 3_000_000, "total": 4_000_000}},
    ):
        progress.note(event)
    assert str(progress) == "5 of 10 MB"
    for event in (
        {"status": "Download complete", "id": "a", "progressDetail": {}},
        {"status": "Extracting", "id": "a", "progressDetail": {"current": 1, "total": 4_000_000}},
        {"status": "Already exists", "id": "c", "progressDetail": {}},
        {"status": "Download complete", "id": "b"},
    ):
        progress.note(event)
    assert str(progress) == "10 MB came, unpacks"


def test_what_an_engine_says_of_a_registry_has_a_next_step() -> None:
    words = "tls: failed to verify certificate: x509: certificate signed by unknown authority"
    assert explained("r", words) == f"that host does not trust the registry's certificate: ./inv agents.trust ({words})"
    assert explained("r", "something\n new") == "something new"


@pytest.mark.parametrize(
    "error",
    [
        requests.exceptions.ChunkedEncodingError(ProtocolError("Connection broken", IncompleteRead(0, 1))),
        ProtocolError("Connection broken", IncompleteRead(0, 1)),
        requests.ConnectionError("the SSH connection to the host broke"),
    ],
    ids=["in a stream", "in a body", "before"],
)
def test_a_connection_that_broke_is_said_in_plain_words(error: Exception) -> None:
    remote: Any = SimpleNamespace(name="agent1")
    with pytest.raises(ServiceAway, match=r"^agent1: pull it: "), engine_errors(remote, "pull it"):
        raise error
