"""The person's ssh configuration: how a host is reached."""

import getpass
import os
import pwd
from pathlib import Path

import pytest

from cluster.hosts import ssh_config
from cluster.hosts.host import Host
from cluster.hosts.ssh_config import Way, way_to
from tests.refusing import refusal

pytestmark = pytest.mark.program("ssh")

HOME = pwd.getpwuid(os.getuid()).pw_dir  # which ssh means by ~, whatever the environment says


@pytest.fixture(autouse=True)
def no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


def way(folder: Path, text: str, host: str = "agent1") -> Way:
    (folder / "config").write_text(text)
    return way_to(str(folder / "config"), Host.parse(host))


def test_without_a_configuration_it_is_as_ssh_does_it(tmp_path: Path) -> None:
    found = way(tmp_path, "")
    assert (found.hostname, found.port, found.user) == ("agent1", 22, getpass.getuser())
    assert (found.agent, found.only_named, found.jumps, found.command) == ("", False, (), "")
    assert [str(file) for file in found.known_hosts] == [
        f"{HOME}/.ssh/known_hosts", f"{HOME}/.ssh/known_hosts2",
        "/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2",
    ]  # fmt: skip


def test_all_that_concerns_a_host_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORK", str(tmp_path))
    for name in ("me-key", "half.pub", "with blank", "known-alias"):
        (tmp_path / name).touch()
    found = way(
        tmp_path,
        f"""
        Match exec "test %n = agent1"
            User me
        Host agent*
            HostName %h.example.org
            Port 2222
            IdentityFile {tmp_path}/%r-key
            IdentityFile ${{WORK}}/half
            IdentityFile {tmp_path}/not-there
            IdentitiesOnly yes
            CertificateFile ${{WORK}}/%r-cert.pub
            UserKnownHostsFile "{tmp_path}/with blank" ${{WORK}}/known-%k
            GlobalKnownHostsFile none
            KnownHostsCommand /bin/keys --of "%H %h" %t %%
            RevokedHostKeys {tmp_path}/krl
            HostKeyAlias alias
        """,
    )
    assert found == Way(
        "agent1", "agent1.example.org", 2222, "me", "alias",
        (tmp_path / "with blank", tmp_path / "known-alias"),
        ("/bin/keys", "--of", "%H agent1.example.org", "%t", "%"),
        tmp_path / "krl",
        (tmp_path / "me-key", tmp_path / "half"),
        (tmp_path / "me-cert.pub",), True,
    )  # fmt: skip


def test_what_the_person_writes_wins(tmp_path: Path) -> None:
    command = "nc -X '%r' %h %p; echo \"${HOME}\""
    found = way(tmp_path, f"Host agent1\n  User me\n  Port 2222\n  ProxyCommand {command}", "you@corp@agent1:23")
    assert (found.user, found.port, found.command) == (
        "you@corp", 23, "nc -X 'you@corp' agent1 23; echo \"${HOME}\""
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "socket"),
    [
        ("", "/of/the/environment"),
        ("IdentityAgent SSH_AUTH_SOCK", "/of/the/environment"),
        ("IdentityAgent none", ""),
        ("IdentitiesOnly yes", "/of/the/environment"),
        ("IdentityAgent $OTHER", "/other"),
        ("IdentityAgent ${OTHER}", "/other"),
        ("IdentityAgent $NONE", ""),
        ('IdentityAgent "~/a b/agent"', f"{HOME}/a b/agent"),
        ("IdentityAgent %d/agent", f"{HOME}/agent"),
    ],
)
def test_where_the_keys_of_an_agent_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, socket: str
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/of/the/environment")
    monkeypatch.setenv("OTHER", "/other")
    assert way(tmp_path, text).agent == socket


@pytest.mark.parametrize(
    ("text", "jumps"),
    [
        ("Host agent1\n ProxyJump jump", ["jump"]),
        ("Host agent1\n ProxyJump a,me@corp@b:2222", ["a", "me@corp@b:2222"]),
        ("Host agent1\n ProxyJump a:22,b:22,me@c:22,[fe80::1]:22", ["a:22", "b:22", "me@c:22", "[fe80::1]:22"]),
        ("Host agent1\n ProxyJump b\nHost b\n ProxyJump a", ["a", "b"]),
        ("Host agent1\n ProxyJump b,c\nHost b c\n ProxyJump a", ["a", "b", "c"]),
        ("Host agent1\n ProxyJump none\nHost *\n ProxyJump jump", []),
    ],
)
def test_jump_hosts_are_passed_in_this_order(tmp_path: Path, text: str, jumps: list[str]) -> None:
    assert [jump.said for jump in way(tmp_path, text).jumps] == jumps


def test_a_jump_host_has_its_own_settings_and_no_jumps_in_it(tmp_path: Path) -> None:
    found = way(tmp_path, "Host agent1\n ProxyJump root@jump\nHost jump\n HostName 10.0.0.9\n ProxyCommand nc %h %p")
    (jump,) = found.jumps
    assert (jump.hostname, jump.user, jump.command, jump.jumps, found.command) == (
        "10.0.0.9", "root", "nc 10.0.0.9 22", (), ""
    )  # fmt: skip


def test_jumps_in_a_circle_are_named(tmp_path: Path) -> None:
    assert "ProxyJump" in refusal(
        way, tmp_path, "Host agent1\n ProxyJump a\nHost a\n ProxyJump b\nHost b\n ProxyJump c\nHost c\n ProxyJump a"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Port many", "agent1: "),
        ("NoSuchWord yes", "agent1: "),
        ("IdentityFile ${NOT_SET_ANYWHERE}/x", "agent1: "),
        ("ProxyUseFdpass yes", "agent1: ProxyUseFdpass "),
        ("ProxyJump jump", "jump: "),
    ],
)
def test_a_configuration_that_cannot_be_is_named(tmp_path: Path, text: str, words: str) -> None:
    assert refusal(way, tmp_path, text).startswith(words)


def test_a_file_that_is_not_there_is_named() -> None:
    assert "/nowhere: " in refusal(way_to, "/nowhere", Host("a"))


def test_where_there_is_no_ssh_it_is_told_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "apt-get install openssh-client" in refusal(way, tmp_path, "")


def test_a_configuration_that_never_comes_to_an_end_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_config, "TIMEOUT_S", 0.5)
    assert " 0.5 s" in refusal(way, tmp_path, 'Match exec "exec sleep 60"')
