"""The person's ssh configuration: how a host is reached."""

import getpass
import subprocess
from pathlib import Path

import pytest

from cluster.hosts.host import Host
from cluster.hosts.ssh_config import Way, read, way_to
from scripts.errors import ClusterError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / ".ssh").mkdir()
    return tmp_path


def way(folder: Path, text: str, host: str = "agent1") -> Way:
    (folder / ".ssh/config").write_text(text)
    return way_to(read(str(folder / ".ssh/config")), Host.parse(host))


def test_without_a_configuration_it_is_as_ssh_does_it(home: Path) -> None:
    found = way(home, "")
    assert (found.hostname, found.port, found.user) == ("agent1", 22, getpass.getuser())
    assert (found.keys, found.default_keys, found.agent, found.jumps, found.command) == ((), True, "", (), "")
    assert [str(file) for file in found.known_hosts] == [
        f"{home}/.ssh/known_hosts", f"{home}/.ssh/known_hosts2",
        "/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2",
    ]  # fmt: skip


def test_all_that_concerns_a_host_is_taken(home: Path) -> None:
    (home / "key").touch()
    found = way(
        home,
        """
        Host agent*
            HostName %h.example.org
            User me
            Port 2222
            IdentityFile ~/key
            IdentityFile ~/not-there
            UserKnownHostsFile "~/with blank" %d/b
            GlobalKnownHostsFile none
            HostKeyAlias Alias
        """,
    )
    assert found == Way(
        "agent1",
        "agent1.example.org",
        2222,
        "me",
        "Alias",
        (home / "with blank", home / "b"),
        (home / "key",),
        False,
    )


def test_what_the_person_writes_wins(home: Path) -> None:
    found = way(home, "Host agent1\n  User me\n  Port 2222\n  ProxyCommand nc -X %r %h %p", "you@agent1:23")
    assert (found.user, found.port, found.command) == ("you", 23, "nc -X you agent1 23")


@pytest.mark.parametrize(
    ("text", "socket"),
    [
        ("", "/of/the/environment"),
        ("IdentityFile ~/key", "/of/the/environment"),
        ("IdentityAgent SSH_AUTH_SOCK", "/of/the/environment"),
        ("IdentityAgent none", ""),
        ("IdentityFile ~/key\nIdentitiesOnly yes", ""),
        ("IdentitiesOnly yes", "/of/the/environment"),
        ("IdentityAgent $OTHER", "/other"),
        ("IdentityAgent ${OTHER}", "/other"),
        ("IdentityAgent $NONE", ""),
        ('IdentityAgent "~/a b/agent"', "HOME/a b/agent"),
        ("IdentityAgent %d/agent", "HOME/agent"),
    ],
)
def test_where_the_keys_of_an_agent_are(home: Path, monkeypatch: pytest.MonkeyPatch, text: str, socket: str) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/of/the/environment")
    monkeypatch.setenv("OTHER", "/other")
    (home / "key").touch()
    assert way(home, text).agent == socket.replace("HOME", str(home))


@pytest.mark.parametrize(
    ("text", "jumps"),
    [
        ("Host agent1\n ProxyJump jump", ["jump"]),
        ("Host agent1\n ProxyJump a,me@b:2222", ["a", "me@b:2222"]),
        ("Host agent1\n ProxyJump b\nHost b\n ProxyJump a", ["a", "b"]),
        ("Host agent1\n ProxyJump b,c\nHost b c\n ProxyJump a", ["a", "b", "c"]),
        ("Host agent1\n ProxyJump none\nHost *\n ProxyJump jump", []),
        ("Host *\n ProxyJump jump", ["jump"]),
    ],
)
def test_jump_hosts_are_passed_in_this_order(home: Path, text: str, jumps: list[str]) -> None:
    assert [jump.said for jump in way(home, text).jumps] == jumps


def test_a_jump_host_has_its_own_settings_and_no_jumps_in_it(home: Path) -> None:
    found = way(home, "Host agent1\n ProxyJump root@jump\nHost jump\n HostName 10.0.0.9\n ProxyCommand nc %h %p")
    (jump,) = found.jumps
    assert (jump.hostname, jump.user, jump.command, jump.jumps, found.command) == (
        "10.0.0.9", "root", "nc 10.0.0.9 22", (), ""
    )  # fmt: skip


def test_jumps_in_a_circle_are_named(home: Path) -> None:
    with pytest.raises(ClusterError, match=r"ProxyJump in the ssh configuration goes in circles"):
        way(home, "Host agent1\n ProxyJump a\nHost a\n ProxyJump b\nHost b\n ProxyJump c\nHost c\n ProxyJump a")


def test_includes_are_followed_where_they_stand(home: Path) -> None:
    folder = home / ".ssh/config.d"
    folder.mkdir()
    (folder / "1").write_text("Host agent1\n  User one\n")
    (folder / "2").write_text("Host agent1\n  User two\nHost other\n  Port 99\n  Include inner\n")
    (home / ".ssh/inner").write_text("Port 98\nUser other\n")
    text = "Include config.d/*\nHost agent1\n  Include none ~/.ssh/nothing*\n  Port 2222\n"
    found = way(home, text)
    assert (found.user, found.port) == ("one", 2222)
    other = way(home, text, "other")
    assert (other.user, other.port) == ("other", 99)


def test_an_include_of_itself_ends(home: Path) -> None:
    assert way(home, "Include config\nHost agent1\n  Port 2222").port == 2222


def test_without_a_file_of_ones_own_the_persons_is_read(home: Path) -> None:
    (home / ".ssh/config").write_text("Host agent1\n  Port 2222")
    assert way_to(read(""), Host("agent1")).port == 2222


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Host agent1\n  Port", "agent1: the ssh configuration cannot be applied to it: Unparsable line Port"),
        ("Port many", "agent1: the ssh configuration cannot be applied to it: invalid literal"),
        ("Host 'a", "agent1: the ssh configuration cannot be applied to it"),
        ("ProxyJump a b", "'a b' is not a host"),
        ("UserKnownHostsFile 'a", "agent1: the ssh configuration cannot be applied to it: No closing quotation"),
    ],
)
def test_a_configuration_that_cannot_be_is_named(home: Path, text: str, words: str) -> None:
    with pytest.raises(ClusterError) as caught:
        way(home, text)
    assert str(caught.value).startswith(words)


def test_a_file_that_is_not_there_is_named(home: Path) -> None:
    with pytest.raises(ClusterError, match=r"^the ssh configuration /nowhere: No such file or directory: see agents"):
        read("/nowhere")


@pytest.mark.program("ssh")
def test_it_is_what_ssh_itself_makes_of_it(home: Path) -> None:
    config = home / ".ssh/config"
    config.write_text(
        "Host far\n  HostName 10.0.0.9\nMatch host 10.0.0.9\n  User matched\nHost f* !foo\n  Port 77\n  User late\n"
        "Host *\n  IdentityFile ~/.ssh/%r-key\n"
    )
    (home / ".ssh/matched-key").touch()
    said = subprocess.run(["ssh", "-G", "-F", str(config), "far"], check=True, capture_output=True, text=True).stdout
    lines = dict(line.split(" ", 1) for line in said.splitlines() if " " in line)
    found = way_to(read(str(config)), Host("far"))
    assert (found.hostname, found.user, str(found.port)) == (lines["hostname"], lines["user"], lines["port"])
    assert [key.name for key in found.keys] == ["matched-key"]
