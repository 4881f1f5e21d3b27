"""Why a host cannot be reached."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from paramiko.ssh_exception import AuthenticationException, BadAuthenticationType, ChannelException, SSHException

from cluster.hosts.host import Host
from cluster.hosts.login import NotLetIn
from cluster.hosts.ssh import connect_errors, needs_passphrase
from cluster.hosts.ssh_config import Way
from scripts.errors import ClusterError, ServiceAway

JUMP = Way("jump", "10.0.0.9", 22, "root")
WAY = Way("agent1", "10.0.0.1", 22, "me", jumps=(JUMP,), keys=(Path("/of/me"),), agent="/socket")
PLAIN, LOCKED = NoEncryption(), BestAvailableEncryption(b"secret")
ED, RSA = ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 2048)


def told(error: Exception, hop: Way = WAY) -> ClusterError:
    with pytest.raises(ClusterError) as caught, connect_errors(Host("agent1"), hop, WAY, 5):
        raise error
    return caught.value


@pytest.mark.parametrize(
    ("error", "hop", "kind", "words"),
    [
        (OSError(101, "Network is unreachable"), WAY, ServiceAway, "agent1: 10.0.0.1 port 22: Network is unreachable"),
        (SSHException("No such thing\nhere"), WAY, ServiceAway, "agent1: 10.0.0.1 port 22: No such thing here: "),
        (ConnectionResetError(104, "reset"), WAY, ServiceAway, "agent1: 10.0.0.1 port 22 "),
        (SSHException("Incompatible ssh peer"), WAY, ServiceAway, "agent1: 10.0.0.1 port 22 "),
        (ChannelException(1, "prohibited"), WAY, ServiceAway, "agent1: the jump host jump forwards nothing: "),
        (ChannelException(2, "failed"), WAY, ServiceAway, "agent1: the jump host jump cannot reach 10.0.0.1 port 22"),
        # Who is not let in: no service is away.
        (AuthenticationException("Authentication failed."), WAY, ClusterError, "agent1: me is not let in with "),
        (
            BadAuthenticationType("x", ["password", "keyboard"]),
            WAY,
            ClusterError,
            "agent1: it takes no keys, only pass",
        ),
        (AuthenticationException("Authentication timeout."), WAY, ClusterError, "agent1: it did not decide within 5 s"),
        (AuthenticationException(), JUMP, ClusterError, "agent1: the jump host jump: root is not let in"),
    ],
)
def test_what_is_away_and_who_is_not_let_in_is_named(error: Exception, hop: Way, kind: type, words: str) -> None:
    found = told(error, hop)
    assert type(found) is kind
    assert str(found).startswith(words)


def test_a_key_that_could_not_be_tried_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "locked").write_bytes(ED.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, LOCKED))
    two = Way("agent1", "10.0.0.1", 22, "me", keys=(tmp_path / "locked", tmp_path / "tried"))
    words = str(told(NotLetIn([tmp_path / "tried"]), two))
    assert f"me is not let in with {tmp_path}/tried: ssh-copy-id agent1" in words
    assert f"{tmp_path}/locked needs a passphrase" in words


def test_a_bug_stays_one() -> None:
    with pytest.raises(ZeroDivisionError), connect_errors(Host("agent1"), WAY, WAY, 5):
        raise ZeroDivisionError


@pytest.mark.parametrize("key", [ED, RSA], ids=["ed25519", "rsa"])
@pytest.mark.parametrize("kind", [PrivateFormat.OpenSSH, PrivateFormat.PKCS8])
@pytest.mark.parametrize(("encryption", "locked"), [(PLAIN, False), (LOCKED, True)])
def test_a_locked_key_is_known(
    tmp_path: Path, key: rsa.RSAPrivateKey, kind: PrivateFormat, encryption: KeySerializationEncryption, locked: bool
) -> None:
    path = tmp_path / "key"
    path.write_bytes(key.private_bytes(Encoding.PEM, kind, encryption))
    assert needs_passphrase(path) == locked


def test_what_is_no_key_is_not_locked(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"nothing")
    assert not needs_passphrase(tmp_path / "key")
    assert not needs_passphrase(tmp_path / "none")
