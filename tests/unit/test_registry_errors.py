"""The kinds of trouble with a registry, from engines' words (Docker 26, docker-registry 2.8) and certificates."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cluster.images import registry_api, registry_errors, registry_login
from cluster.images.registry_errors import Trouble, failure, remedy_on_a_host, trouble_in
from cluster.images.registry_login import Access
from cluster.registry import certificates
from cluster.registry.certificates import Authority, Pair
from scripts.errors import ClusterError, ServiceAway
from tests.ports import free_ports
from tests.refusing import refusal
from tests.web import serving

pytestmark = pytest.mark.usefixtures("secrets_folder")

NOW = datetime.now(UTC)
REGISTRY = "registry.example:5000"
X509 = f'Get "https://{REGISTRY}/v2/": tls: failed to verify certificate: x509: '
Serve = Callable[[Pair | None], AbstractContextManager[str]]


@pytest.fixture
def ca() -> Authority:
    made = certificates.of("test", NOW - timedelta(days=800))
    made.keep()
    return made


@pytest.mark.parametrize(
    ("words", "trouble"),
    [
        ("dial tcp 127.0.0.1:5000: connect: connection refused", Trouble.AWAY),
        (f"dial tcp: lookup {REGISTRY} on 10.0.0.2:53: no such host", Trouble.AWAY),
        ("dial tcp 10.0.0.1:5000: i/o timeout", Trouble.AWAY),
        ("http: server gave HTTP response to HTTPS client", Trouble.NO_TLS),
        (X509 + "certificate has expired or is not yet valid: current time 2026-11-23T22:00:00Z is", Trouble.ENDED),
        (X509 + "certificate is valid for 10.0.0.5, not 10.0.0.6", Trouble.OTHER_NAME),
        (X509 + "cannot validate certificate for 10.0.0.6 because it doesn't contain any IP", Trouble.OTHER_NAME),
        (X509 + "certificate signed by unknown authority", Trouble.UNTRUSTED),
        ("unauthorized: authentication required", Trouble.LOGIN),
        (f"Head https://{REGISTRY}/v2/worker/manifests/v1: no basic auth credentials", Trouble.LOGIN),
        ("pull access denied, repository does not exist or may require 'docker login': not found", Trouble.LOGIN),
        ("manifest for 10.0.0.5:5000/x:y not found: manifest unknown: manifest unknown", Trouble.ABSENT),
        ("repository name not known to registry: name unknown", Trouble.ABSENT),
        ("write /var/lib/registry/x: no space left on device", Trouble.FULL),
        ("layer does not exist", None),
    ],
)
def test_an_engine_tells_each_by_its_words(words: str, trouble: Trouble | None) -> None:
    assert trouble_in(words) is trouble


@pytest.mark.parametrize("trouble", [one for one in Trouble if one is not Trouble.ABSENT])
def test_each_has_one_line_here_and_on_a_host(trouble: Trouble) -> None:
    here = failure(REGISTRY, trouble, engine_ca=Path("/ca.crt"))
    assert REGISTRY in str(here)
    assert "\n" not in str(here)
    assert isinstance(here, ServiceAway) == (trouble is Trouble.AWAY)
    for phrase in trouble.value:
        assert remedy_on_a_host(REGISTRY, phrase)
        assert "{" not in remedy_on_a_host(REGISTRY, phrase)


def test_a_host_is_told_nothing_where_nothing_is_known() -> None:
    assert remedy_on_a_host(REGISTRY, "layer does not exist") == ""
    assert remedy_on_a_host(REGISTRY, "manifest unknown") == ""


def test_a_registry_of_this_machine_is_started() -> None:
    assert "./inv registry.up" in str(failure("localhost:5000", Trouble.AWAY))
    assert "./inv registry.up" not in str(failure(REGISTRY, Trouble.AWAY))


def test_an_engine_that_does_not_trust_our_registry_is_told_the_command(ca: Authority, tmp_path: Path) -> None:
    engine_ca = tmp_path / "ca.crt"
    assert str(engine_ca) in str(failure(REGISTRY, Trouble.UNTRUSTED, engine_ca=engine_ca))
    registry_login.keep(REGISTRY, Access("cluster", "hidden", ca.file))
    command = f"sudo install -D -m 644 {ca.file} {engine_ca}"
    assert command in str(failure(REGISTRY, Trouble.UNTRUSTED, engine_ca=engine_ca))
    engine_ca.write_bytes(b"CA")
    assert f"not of our CA, {ca.file}" in str(failure(REGISTRY, Trouble.UNTRUSTED, engine_ca=engine_ca))


def test_a_login_that_is_missing_or_not_taken_is_named_and_not_shown(tmp_path: Path) -> None:
    assert "asks for a login, and there is none for it: take the .secrets/" in str(failure(REGISTRY, Trouble.LOGIN))
    (tmp_path / "config.json").write_text(f'{{"auths": {{"{REGISTRY}": {{"auth": "bWU6aGlkZGVu"}}}}}}')
    assert f"docker login {REGISTRY}" in str(failure(REGISTRY, Trouble.LOGIN))
    registry_login.keep(REGISTRY, Access("cluster", "hidden"))
    line = str(failure(REGISTRY, Trouble.LOGIN, "unauthorized"))
    assert f"{registry_login.place(REGISTRY)}" in line
    assert line.endswith(" (unauthorized)")
    assert "hidden" not in line


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Serves with a certificate, or without TLS; the address, which is not taken for one of this machine."""
    monkeypatch.setattr(registry_api, "is_local", lambda registry: False)

    @contextmanager
    def served(pair: Pair | None) -> Iterator[str]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if pair:
            (tmp_path / "server.pem").write_bytes(pair.certificate + pair.key)
            context.load_cert_chain(tmp_path / "server.pem")
        with serving(lambda asked: (404, b""), context if pair else None) as port:
            yield f"127.0.0.1:{port}"

    return served


def trouble_with(registry: str, ca: Path, monkeypatch: pytest.MonkeyPatch) -> Trouble:
    """Return the trouble that a question to a registry of ours meets."""
    registry_login.keep(registry, Access("cluster", "hidden", ca))
    met: list[Trouble] = []

    def noted(registry: str, trouble: Trouble, words: str = "") -> ClusterError:
        met.append(trouble)
        return failure(registry, trouble, words)

    monkeypatch.setattr(registry_errors, "failure", noted)
    with pytest.raises(ClusterError):
        registry_api.check(registry)
    return met[0]


def test_a_certificate_tells_by_openssls_codes(ca: Authority, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    for pair, trouble in [
        (ca.issue("127.0.0.1", NOW - timedelta(days=400)), Trouble.ENDED),
        (ca.issue("10.0.0.5", NOW), Trouble.OTHER_NAME),
        (ca.issue("registry.example", NOW), Trouble.OTHER_NAME),
        (certificates.of("other", NOW).issue("127.0.0.1", NOW), Trouble.UNTRUSTED),
        (None, Trouble.NO_TLS),
    ]:
        with serve(pair) as registry:
            assert trouble_with(registry, ca.file, monkeypatch) is trouble


def test_a_certificate_is_looked_at_even_if_it_is_not_trusted(ca: Authority, serve: Serve) -> None:
    with serve(ca.issue("127.0.0.1", NOW - timedelta(days=400))) as registry:
        assert registry_api.certificate(registry).not_valid_after_utc < NOW


def test_without_tls_there_is_no_certificate(serve: Serve) -> None:
    (port,) = free_ports(1)
    with serve(None) as without_tls:
        for registry in (without_tls, f"127.0.0.1:{port}"):
            assert registry in refusal(registry_api.certificate, registry, by=ServiceAway)


@pytest.fixture
def port() -> Iterator[int]:
    """A web server that is no registry; by the name localhost it asks for a login."""
    with serving(lambda asked: (401 if asked.headers["Host"].startswith("localhost") else 200, b"<html>")) as port:
        yield port


def test_a_web_server_is_no_registry(port: int) -> None:
    assert not registry_api.answers(f"127.0.0.1:{port}")
    assert f"127.0.0.1:{port}" in refusal(registry_api.stored, f"127.0.0.1:{port}")


def test_a_registry_that_asks_for_a_login_is_not_called_away(port: int) -> None:
    assert "login" in refusal(registry_api.stored, f"localhost:{port}")


def test_nobody_is_asked_through_a_proxy_on_this_machine(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert f"127.0.0.1:{port} is" in refusal(registry_api.stored, f"127.0.0.1:{port}")


def test_silence_is_a_service_that_is_away() -> None:
    assert "./inv registry.up" in refusal(registry_api.stored, "127.0.0.1:1", by=ServiceAway)
    assert not registry_api.answers("127.0.0.1:1")
