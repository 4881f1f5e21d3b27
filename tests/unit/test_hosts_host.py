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
from tests.refusing import refusal


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
    assert repr(text) in refusal(Host.parse, text)


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
    file = tmp_path / "file"
    assert "--hosts-file FILE" in refusal(chosen, agents())
    assert "--hosts and --hosts-file" in refusal(chosen, agents(), hosts="a", hosts_file="b")
    assert "' , '" in refusal(chosen, agents(), hosts=" , ")
    assert str(tmp_path / "none") in refusal(chosen, agents(), hosts_file=str(tmp_path / "none"))
    for content, named in ((b"# none\n", ""), (b"\xff\n", "UTF-8"), (b"a\nb c\n", ", line 2: 'b c'")):
        file.write_bytes(content)
        found = refusal(chosen, agents(), hosts_file=str(file))
        assert str(file) in found
        assert named in found


@pytest.mark.parametrize("timeout_s", ["0", "-1", "nan", "soon"])
def test_a_host_needs_some_time_to_be_reached(timeout_s: str) -> None:
    config = defaults()
    assert "agents.timeout_s: " in refusal(
        Settings.read, config | {"agents": config["agents"] | {"timeout_s": timeout_s}}
    )


def test_a_file_of_the_settings_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hosts").write_text("here")
    monkeypatch.chdir(tmp_path)
    assert chosen(SETTINGS, "", "hosts") == [Host("here")]
    assert str(ROOT / "hosts") in refusal(chosen, agents(hosts_file="hosts"))
