"""The engine's words about a push that failed, each as one line with a next step."""

from pathlib import Path

import pytest

from cluster import credentials
from cluster.atomic_file import write_atomically
from cluster.image_ref import ImageRef
from cluster.images import registry_login
from cluster.images.push_errors import push_failure, registry_failure
from cluster.images.registry_login import Access
from scripts.errors import ServiceAway

HERE = ImageRef.parse("localhost:5000/amqp:v1")
ELSEWHERE = ImageRef.parse("registry.example:5000/amqp:v1")
X509 = 'Get "https://registry.example:5000/v2/": x509: '


@pytest.fixture(autouse=True)
def secrets_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(credentials, "SECRETS", tmp_path / "secrets")
    return tmp_path / "secrets"


@pytest.fixture
def ca(secrets_folder: Path) -> Path:
    """Our registry is at the other address."""
    path = secrets_folder / "ca.pem"
    write_atomically(path, b"CA")
    registry_login.keep(ELSEWHERE.registry, Access("cluster", "hidden", path))
    return path


@pytest.mark.parametrize(
    ("ref", "problem", "next_step"),
    [
        (
            HERE,
            'Get "http://localhost:5000/v2/": dial tcp 127.0.0.1:5000: connect: connection refused',
            "no registry answers at localhost:5000: start it with `./inv registry.up`",
        ),
        (
            ELSEWHERE,
            'Get "https://registry.example:5000/v2/": dial tcp: lookup registry.example: no such host',
            "no registry answers at registry.example:5000: see `registry:` in invoke.yaml",
        ),
        (
            ELSEWHERE,
            'Get "https://registry.example:5000/v2/": http: server gave HTTP response to HTTPS client',
            "insecure-registries",
        ),
        (
            ELSEWHERE,
            X509 + "certificate signed by unknown authority",
            "put its CA at /etc/docker/certs.d/registry.exam",
        ),
        (
            ELSEWHERE,
            X509 + "certificate has expired or is not yet valid: current time 2026-11-23T22:00:00Z is after 2026-01-01",
            "has ended, or a clock is wrong: `./inv registry.up --host`",
        ),
        (ELSEWHERE, X509 + "certificate is valid for 10.0.0.5, not 10.0.0.6", "--address registry.example:5000"),
        (
            ELSEWHERE,
            X509 + "cannot validate certificate for 10.0.0.6 because it doesn't contain any IP SANs",
            "is for another name",
        ),
        (ELSEWHERE, "unauthorized: authentication required", "registry-registry.example:5000.json"),
        (ELSEWHERE, "denied: requested access to the resource is denied", "asks for a login, and there is none"),
        (
            ELSEWHERE,
            "write /var/lib/registry/x: no space left on device",
            "the disk is full where registry.example:5000",
        ),
        (HERE, "An image does not exist locally with the tag: localhost:5000/amqp", "build it first"),
        (HERE, "received unexpected HTTP status: 500 Internal Server Error", "500 Internal Server Error; see `./inv"),
    ],
)
def test_each_says_what_to_do(ref: ImageRef, problem: str, next_step: str) -> None:
    text = str(push_failure(ref, problem))
    assert text.startswith(f"push {ref}: ")
    assert next_step in text
    assert "\n" not in text


def test_a_registry_that_is_away_is_a_service_that_is_away() -> None:
    assert isinstance(push_failure(HERE, "dial tcp 127.0.0.1:5000: connect: connection refused"), ServiceAway)
    assert not isinstance(push_failure(HERE, "denied"), ServiceAway)


def test_an_engine_that_does_not_trust_our_registry_is_told_the_command(ca: Path, tmp_path: Path) -> None:
    text = str(push_failure(ELSEWHERE, X509 + "certificate signed by unknown authority", tmp_path))
    assert f"sudo install -D -m 644 {ca} {tmp_path}/registry.example:5000/ca.crt" in text


def test_one_that_trusts_it_has_met_somebody_else(ca: Path, tmp_path: Path) -> None:
    trusted = tmp_path / "registry.example:5000" / "ca.crt"
    trusted.parent.mkdir()
    trusted.write_bytes(b"CA")
    text = str(push_failure(ELSEWHERE, X509 + "certificate signed by unknown authority", tmp_path))
    assert f"is not of our CA, {ca}: somebody else's registry has this address" in text


def test_a_login_that_is_kept_and_not_taken_is_not_shown(ca: Path) -> None:
    text = str(push_failure(ELSEWHERE, "unauthorized: authentication required"))
    assert "does not take the login in" in text
    assert "hidden" not in text


def test_what_is_not_the_registry_is_nothing() -> None:
    assert registry_failure("look for amqp:v1", "registry.example:5000", "manifest unknown") is None
