"""What engines say of a registry (these are words of Docker 26 and docker-registry 2.8), as what to do about it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import requests
from urllib3.exceptions import IncompleteRead, ProtocolError

from cluster.images.remote_errors import remedy, says_absent
from cluster.operations.agents.pull import failure
from scripts.errors import ServiceAway

REGISTRY = "10.0.0.5:5000"
ASKED = f'Get "https://{REGISTRY}/v2/": '


@pytest.mark.parametrize(
    ("words", "step"),
    [
        (ASKED + "dial tcp 10.0.0.5:5000: connect: connection refused", "./inv registry.status"),
        (
            ASKED + "tls: failed to verify certificate: x509: certificate signed by unknown authority",
            "./inv agents.trust",
        ),
        (ASKED + "tls: failed to verify certificate: x509: certificate has expired or is not yet valid", "has ended"),
        (ASKED + "http: server gave HTTP response to HTTPS client", "speaks no TLS"),
        (ASKED + "unauthorized: authentication required", "./inv registry.up --host HOST"),
        ("write /var/lib/docker/tmp/GetImageBlob1: no space left on device", "the disk is full"),
    ],
)
def test_what_is_known_comes_with_a_step(words: str, step: str) -> None:
    assert step in remedy(REGISTRY, words)


def test_other_words_have_none() -> None:
    assert remedy(REGISTRY, "layer does not exist") == ""


def test_an_image_that_is_not_there_is_told_from_a_registry_that_lets_nobody_in() -> None:
    assert says_absent("manifest for 10.0.0.5:5000/x:y not found: manifest unknown: manifest unknown")
    assert not says_absent("pull access denied, repository does not exist or may require 'docker login': not found")


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
    told = failure(SimpleNamespace(name="agent1"), "pull it", error)  # type: ignore[arg-type]
    assert isinstance(told, ServiceAway)
    assert str(told) == "agent1: pull it: the connection broke: is the host or its engine down? run this again"
