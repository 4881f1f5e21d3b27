"""The engine's words about a push that failed, each as one line with a next step."""

import pytest

from cluster.image_ref import ImageRef
from cluster.push_errors import push_failure
from scripts.errors import ServiceAway

HERE = ImageRef.parse("localhost:5000/amqp:v1")
ELSEWHERE = ImageRef.parse("registry.example:5000/amqp:v1")


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
            'Get "https://registry.example:5000/v2/": x509: certificate signed by unknown authority',
            "/etc/docker/certs.d/registry.example:5000/ca.crt",
        ),
        (ELSEWHERE, "unauthorized: authentication required", "docker login registry.example:5000"),
        (ELSEWHERE, "denied: requested access to the resource is denied", "docker login registry.example:5000"),
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
