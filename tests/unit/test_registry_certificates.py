"""Our own CA and the certificates that it gives to registries; the clock is the test's."""

import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from cluster.registry import certificates
from cluster.registry.certificates import RENEW_BEFORE, SERVER_TIME, Authority, Pair
from tests.refusing import refusal

pytestmark = pytest.mark.usefixtures("secrets_folder")

NOW = datetime(2030, 5, 17, 12, tzinfo=UTC)


@pytest.fixture
def ca() -> Authority:
    return kept("test", NOW)


def kept(project: str, now: datetime) -> Authority:
    made = certificates.of(project, now)
    made.keep()
    return made


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_made_once_and_for_its_owner_alone(ca: Authority, secrets_folder: Path) -> None:
    assert ca.file == secrets_folder / "test-registry-ca.pem"
    assert mode(secrets_folder) == 0o700
    assert mode(ca.file.with_suffix(".key")) == 0o600
    assert sorted(path.name for path in secrets_folder.iterdir()) == ["test-registry-ca.key", "test-registry-ca.pem"]
    assert kept("test", NOW + timedelta(days=1000)).certificate == ca.certificate
    assert kept("other", NOW).certificate != ca.certificate


def test_a_run_that_was_interrupted_before_the_certificate_begins_anew(ca: Authority) -> None:
    ca.file.unlink()
    assert certificates.of("test", NOW).certificate != ca.certificate


def test_nothing_secret_is_shown_of_it(ca: Authority) -> None:
    pair = ca.issue("10.0.0.5", NOW)
    assert "key" not in repr(ca)
    assert "PRIVATE" not in repr(pair)


@pytest.mark.parametrize("host", ["10.0.0.5", "fe80::1", "registry.example"])
def test_a_certificate_is_right_until_a_month_before_its_end(ca: Authority, host: str) -> None:
    pair = ca.issue(host, NOW)
    renew = NOW + SERVER_TIME - RENEW_BEFORE
    assert certificates.reason_to_renew(pair, host, ca, NOW) == ""
    assert certificates.reason_to_renew(pair, host, ca, renew) == ""
    assert certificates.reason_to_renew(pair, host, ca, renew + timedelta(seconds=1)) == "it ends on 2031-05-17"


def test_what_a_certificate_can_lack(ca: Authority) -> None:
    pair, other = ca.issue("10.0.0.5", NOW), ca.issue("10.0.0.5", NOW)
    for found, host, authority, reason in [
        (None, "10.0.0.5", ca, "there is none"),
        (Pair(b"x", b"y"), "10.0.0.5", ca, "it cannot be read"),
        (Pair(pair.certificate, other.key), "10.0.0.5", ca, "its key is another's"),
        (pair, "10.0.0.6", ca, "it is not for 10.0.0.6"),
        (pair, "10.0.0.5", certificates.of("other", NOW), "it is of another CA"),
    ]:
        assert certificates.reason_to_renew(found, host, authority, NOW) == reason


def test_no_certificate_outlives_its_ca(ca: Authority) -> None:
    late = ca.certificate.not_valid_after_utc - timedelta(days=100)
    ends = x509.load_pem_x509_certificate(ca.issue("10.0.0.5", late).certificate).not_valid_after_utc
    assert ends == ca.certificate.not_valid_after_utc


def test_a_ca_at_its_end_is_told_with_what_to_do(ca: Authority) -> None:
    assert "2040-05-14" in refusal(certificates.of, "test", NOW + timedelta(days=3640))


@pytest.mark.parametrize(("name", "content"), [("key", b""), ("pem", b"-----BEGIN"), ("key", None)])
def test_a_ca_of_which_a_file_is_lost_is_told(ca: Authority, name: str, content: bytes | None) -> None:
    path = ca.file.with_suffix(f".{name}")
    path.unlink() if content is None else path.write_bytes(content)
    assert str(ca.file.with_suffix("")) in refusal(certificates.of, "test", NOW)


def test_a_key_of_another_ca_is_told(ca: Authority) -> None:
    other = kept("other", NOW)
    ca.file.with_suffix(".key").write_bytes(other.file.with_suffix(".key").read_bytes())
    assert "test-registry-ca.key" in refusal(certificates.of, "test", NOW)


def test_openssl_takes_it_at_its_strictest(ca: Authority, tmp_path: Path) -> None:
    """As Python does from 3.13 on."""
    now = datetime.now(UTC)
    strict = kept("now", now)
    pair, files = strict.issue("127.0.0.1", now), tmp_path / "server.pem"
    files.write_bytes(pair.certificate + pair.key)
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=str(strict.file))
    server.load_cert_chain(files)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    there = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (here, there, here):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    assert here.version() == "TLSv1.3"
