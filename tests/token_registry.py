"""A real registry that wants tokens, and the server that makes them, as Harbor and GitLab have one beside theirs."""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from cluster.components import REGISTRY
from cluster.images import build as image_build
from cluster.images import registry_api
from cluster.registry.plan import IMAGE
from tests.archives import packed
from tests.ports import free_ports
from tests.waiting import until
from tests.web import serving

_SERVICE, _ISSUER = "the tests' registry", "the tests"


@dataclass
class TokenServer:
    """Makes tokens for one login, which may do all in `group/` and nothing else; `asked` are the scopes."""

    user: str = "robot$of tests"
    password: str = "p:w"
    asked: list[str] = field(default_factory=list)
    _key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        name, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, _ISSUER)]), datetime.now(UTC)
        builder = x509.CertificateBuilder(name, name, self._key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        self.certificate = builder.sign(self._key, hashes.SHA256())

    def token(self, scopes: list[str]) -> str:
        """A signed list of what is granted of the scopes, `repository:NAME:ACTION,ACTION`."""
        self.asked += scopes
        granted = [
            {"type": kind, "name": name, "actions": actions.split(",")}
            for kind, name, actions in (scope.split(":") for scope in scopes)
            if name.startswith("group/")
        ]
        now = int(time.time())
        claims = {"iss": _ISSUER, "sub": self.user, "aud": _SERVICE, "jti": secrets.token_hex(8), "access": granted}
        chain = [base64.b64encode(self.certificate.public_bytes(Encoding.DER)).decode()]
        head = {"typ": "JWT", "alg": "ES256", "x5c": chain}
        signed = ".".join(_part(json.dumps(one).encode()) for one in (head, claims | _times(now)))
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_part(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def lets_in(self, authorization: str) -> bool:
        """Whether this is the login."""
        wanted = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return authorization == f"Basic {wanted}"


def _times(now: int) -> dict[str, int]:
    return {"iat": now, "nbf": now - 60, "exp": now + 300}


def _part(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


@contextmanager
def token_registry(client: Any) -> Iterator[tuple[str, TokenServer]]:
    """A registry's address on this machine, and its token server."""
    made = TokenServer()
    (port,) = free_ports(1)
    with _serving(made) as realm:
        image_build.build(client, REGISTRY, IMAGE, print)
        container = client.containers.create(
            str(IMAGE),
            ports={"5000/tcp": ("127.0.0.1", port)},
            environment={
                "REGISTRY_AUTH": "token", "REGISTRY_AUTH_TOKEN_REALM": realm,
                "REGISTRY_AUTH_TOKEN_SERVICE": _SERVICE, "REGISTRY_AUTH_TOKEN_ISSUER": _ISSUER,
                "REGISTRY_AUTH_TOKEN_ROOTCERTBUNDLE": "/tmp/issuer.pem",
            },
        )  # fmt: skip
        try:
            container.put_archive("/tmp", packed({"issuer.pem": made.certificate.public_bytes(Encoding.PEM)}))
            container.start()
            address = f"localhost:{port}"
            until(lambda: registry_api.answers(address), f"the registry answers at {address}")
            made.asked.clear()
            yield address, made
        finally:
            container.remove(force=True, v=True)


@contextmanager
def _serving(tokens: TokenServer) -> Iterator[str]:
    """The URL at which the tokens are had."""

    def answer(request: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        if not tokens.lets_in(request.headers.get("Authorization", "")):
            return 401, b"{}"
        scopes = parse_qs(urlsplit(request.path).query).get("scope", [])
        return 200, json.dumps({"token": tokens.token(scopes)}).encode()

    with serving(answer) as port:
        yield f"http://127.0.0.1:{port}/token"
