"""Which hosts: what a person may write."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.hosts.host import Host, chosen
from cluster.settings import ROOT, Settings
from scripts.errors import ClusterError
from tests.conftest import SETTINGS, defaults


def agents(**changes: str) -> Settings:
    return replace(SETTINGS, agents=replace(SETTINGS.agents, **changes))


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("agent1", Host("agent1")),
        ("root@10.0.0.12", Host("10.0.0.12", "root")),
        ("agent3:2222", Host("agent3", port=2222)),
        ("me@agent.example.org:65535", Host("agent.example.org", "me", 65535)),
        ("DOMAIN\\me@agent", Host("agent", "DOMAIN\\me")),
        ("[fe80::1]:22", Host("fe80::1", port=22)),
        ("me@[::1]", Host("::1", "me")),
        ("_gateway", Host("_gateway")),
        ("me@corp.example@agent:22", Host("agent", "me@corp.example", 22)),
        ("me@corp.example@[::1]", Host("::1", "me@corp.example")),
    ],
)
def test_a_host_is_read_and_written(text: str, host: Host) -> None:
    assert (Host.parse(text), str(host)) == (host, text)


def test_a_bare_v6_address_has_no_port() -> None:
    assert Host.parse("me@2001:db8::2:22") == Host("2001:db8::2:22", "me")


@pytest.mark.parametrize(
    "text",
    ["", "@a", "a@", "a b", "a:", "a:x", "a:0", "a:65536", "a:222222", "-oProxyCommand=x", "me@-x", "ssh://a",
     "a,b", "[a]", "[::1", "a#", "ag*", "!a"],
)  # fmt: skip
def test_what_is_no_host_is_refused_by_name(text: str) -> None:
    with pytest.raises(ClusterError) as caught:
        Host.parse(text)
    assert str(caught.value).startswith(f"{text!r} is not a host: write it as you would to ssh: [user@]name[:port]")


@given(st.text())
def test_any_text_is_a_host_or_refused(text: str) -> None:
    try:
        host = Host.parse(text)
    except ClusterError:
        return
    assert Host.parse(str(host)) == host


def test_hosts_come_from_the_flag_then_the_file_then_the_settings(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("# agents\n\n  c  # the third\nroot@d:22\n")
    other.write_text("f")
    settings = agents(hosts="e", hosts_file=str(other))
    assert chosen(settings, "a, b,,a") == [Host("a"), Host("b")]
    assert chosen(settings, "", str(one)) == [Host("c"), Host("d", "root", 22)]
    assert chosen(settings) == [Host("e")]
    assert chosen(agents(hosts_file=str(other))) == [Host("f")]


def test_no_hosts_is_an_error_that_says_how_to_name_them(tmp_path: Path) -> None:
    def words(**given: str) -> str:
        with pytest.raises(ClusterError) as caught:
            chosen(agents(), **given)
        return str(caught.value)

    assert words() == "no hosts: give --hosts a,b,c or --hosts-file FILE, or set agents.hosts in invoke.yaml"
    assert words(hosts="a", hosts_file="b") == "--hosts and --hosts-file both say which hosts: give one"
    assert words(hosts=" , ") == "no hosts in ' , ': write them as a,b,c, each as you would say it to ssh"
    empty = tmp_path / "empty"
    empty.write_text("# none\n")
    assert words(hosts_file=str(empty)).startswith(f"the hosts file {empty} names no host")
    assert words(hosts_file=str(tmp_path / "none")).startswith(
        f"the hosts file {tmp_path}/none: No such file or directory"
    )
    empty.write_bytes(b"\xff\n")
    assert words(hosts_file=str(empty)).startswith(f"the hosts file {empty}: not text in UTF-8")
    empty.write_text("a\nb c\n")
    assert words(hosts_file=str(empty)).startswith(f"{empty}, line 2: 'b c' is not a host")


@pytest.mark.parametrize("timeout_s", ["0", "-1", "nan", "soon"])
def test_a_host_needs_some_time_to_be_reached(timeout_s: str) -> None:
    config = defaults()
    with pytest.raises(ClusterError, match=r"^agents\.timeout_s: "):
        Settings.read(config | {"agents": config["agents"] | {"timeout_s": timeout_s}})


def test_a_file_of_the_settings_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hosts").write_text("here")
    monkeypatch.chdir(tmp_path)
    assert chosen(SETTINGS, "", "hosts") == [Host("here")]
    with pytest.raises(ClusterError, match=str(ROOT / "hosts")):
        chosen(agents(hosts_file="hosts"))
