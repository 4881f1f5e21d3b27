"""Trust and pulls: what is written where, and what an engine's words mean."""

import gzip
import io
import json
import tarfile
from typing import Any

import pytest

from cluster.engine.pulls import Progress
from cluster.images.registry_login import Access
from cluster.images.remote_errors import remedy, says_absent
from cluster.operations.agents.docker_logins import archive, parsed, store_of, with_login
from cluster.operations.agents.pull import explained

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


@pytest.mark.parametrize(
    ("words", "step"),
    [
        ("Get https://r/v2/: x509: certificate signed by unknown authority", "./inv agents.trust"),
        ("tls: failed to verify certificate: x509: certificate has expired or is not yet valid", "has ended"),
        ("http: server gave HTTP response to HTTPS client", "speaks no TLS"),
        (
            "Get https://r/v2/: dial tcp 10.0.0.1:5000: connect: connection refused",
            "does not reach r: is the registry up",
        ),
        ("dial tcp: lookup r on 10.0.0.2:53: no such host", "does not reach r"),
        ("dial tcp 10.0.0.1:5000: i/o timeout", "does not reach r"),
        ("Head https://r/v2/worker/manifests/v1: no basic auth credentials", "does not take the login that it got"),
        ("unauthorized: authentication required", "does not take the login that it got"),
        ("write /var/lib/docker/tmp/x: no space left on device", "the disk is full where Docker keeps its data"),
    ],
)
def test_what_an_engine_says_of_a_registry_has_a_next_step(words: str, step: str) -> None:
    assert step in remedy("r", words)
    assert explained("r", words).endswith(f" ({words})")


def test_other_words_stand_for_themselves() -> None:
    assert remedy("r", "something new") == ""
    assert explained("r", "something\n new") == "something new"


def test_an_image_that_is_not_there_is_told_from_a_refusal() -> None:
    assert says_absent("manifest unknown: manifest unknown")
    assert says_absent("repository name not known to registry: name unknown")
    assert not says_absent("denied: requested access to the resource is denied: not found")
    assert not says_absent("connection refused")
