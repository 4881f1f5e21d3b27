"""known_hosts: which keys a host may show."""

import subprocess
from pathlib import Path

import pytest

from cluster.hosts.host_keys import preferred, refusal
from cluster.hosts.known_hosts import KnownKey, fingerprint, known_keys, names_of
from cluster.hosts.ssh_config import Way

KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIO7T0bNJ8NV4oV1yK3IVpHTi8AhCjvvlGYJDbFtn4N4S"
OTHER = "AAAAC3NzaC1lZDI1NTE5AAAAIGkXeqdL7jPqD1Hw2Z0vyJPC0oUqBZ3xEp4C0wZ8v8Qk"
ED = "ssh-ed25519"


def known(folder: Path, text: str, *names: str) -> list[KnownKey]:
    file = folder / "known_hosts"
    file.write_text(text)
    return known_keys([folder / "not-there", file], names)


def way(**changes: object) -> Way:
    return Way("agent1", "10.0.0.1", 22, "root", **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("patterns", "name", "fits"),
    [
        ("agent1", "agent1", True),
        ("a,agent1,b", "agent1", True),
        ("AGENT1", "agent1", True),
        ("agent1", "agent11", False),
        ("agent?", "agent1", True),
        ("*.example.org", "a.b.example.org", True),
        ("*.example.org", "example.org", False),
        ("*.example.org,!bad.example.org", "bad.example.org", False),
        ("!bad.example.org,*.example.org", "good.example.org", True),
        ("!good", "agent1", False),
        ("[agent1]:2222", "[agent1]:2222", True),
        ("[agent1]:2222", "agent1", False),
        ("[*]:2222", "[agent1]:2222", True),
        ("[agent1]:2222", "a:2222", False),
    ],
)
def test_names_are_patterns(tmp_path: Path, patterns: str, name: str, fits: bool) -> None:
    assert bool(known(tmp_path, f"{patterns} {ED} {KEY}", name)) == fits


def test_all_keys_of_the_best_name_are_known_and_where_they_stand(tmp_path: Path) -> None:
    text = f"# hosts\n\n[a]:2222 {ED} {KEY} me@here\n a {ED} {OTHER}\n[a]:2222\t{ED}  {OTHER}\n"
    found = known(tmp_path, text, "[a]:2222", "a")
    assert [key.place.rpartition("/")[2] for key in found] == ["known_hosts line 3", "known_hosts line 5"]
    assert [key.place.rpartition(" ")[2] for key in known(tmp_path, text, "b", "a")] == ["4"]


@pytest.mark.parametrize(
    "line", ["a", f"a {ED}", f"a {ED} !!!", f"a {ED} AAA", f"@cert-authority a {ED} {KEY}", "@revoked", "|1|x|y z w",
             f"|2|AAAA|AAAA {ED} {KEY}", f"#a {ED} {KEY}"],
)  # fmt: skip
def test_a_line_that_is_not_understood_lets_nobody_in(tmp_path: Path, line: str) -> None:
    assert known(tmp_path, f"{line}\n", "a") == []
    assert len(known(tmp_path, f"{line}\na {ED} {KEY}\n", "a")) == 1


@pytest.mark.program("ssh-keygen")
def test_hidden_names_and_fingerprints_are_openssh_s(tmp_path: Path) -> None:
    file = tmp_path / "hidden"
    file.write_text(f"agent1 {ED} {KEY}\n[agent1]:2222 {ED} {OTHER}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    assert "agent1" not in file.read_text()
    (one,) = known_keys([file], ["agent1"])
    (other,) = known_keys([file], ["[agent1]:2222"])
    assert one.blob != other.blob
    shown = subprocess.run(["ssh-keygen", "-lf", str(file)], check=True, capture_output=True, text=True).stdout
    assert fingerprint(one.blob) in shown
    assert fingerprint(other.blob) in shown


def test_what_a_host_may_be_called() -> None:
    assert names_of("Agent1", 22) == ["agent1"]
    assert names_of("agent1", 2222) == ["[agent1]:2222", "agent1"]
    assert names_of("10.0.0.1", 2222, alias="Agent1") == ["agent1"]


def test_a_key_is_taken_when_it_is_known() -> None:
    keys = [KnownKey(ED, b"one", "f line 1"), KnownKey(ED, b"two", "f line 2")]
    assert refusal(way(), keys, ED, b"two") == ""
    assert refusal(way(), [*keys, KnownKey(ED, b"two", "f line 3", revoked=True)], ED, b"two").endswith(
        "is marked as revoked in f line 3: somebody else may answer there"
    )


def test_a_key_that_is_another_is_refused_and_told_what_to_do() -> None:
    words = refusal(way(), [KnownKey("ssh-rsa", b"one", "/k h line 1")], ED, b"two")
    assert words.startswith(f"its host key has changed: it shows {ED} SHA256:")
    assert "ssh-keygen -R '10.0.0.1' -f '/k h'" in words
    only_revoked = [KnownKey(ED, b"one", "f line 1", revoked=True)]
    assert refusal(way(), only_revoked, ED, b"two").startswith("its host key is not known")


@pytest.mark.parametrize(
    ("changes", "step"),
    [
        ({"known_hosts": (Path("/k"),)}, "ssh-keyscan -t ed25519 10.0.0.1 >> /k"),
        ({}, "ssh-keyscan -t ed25519 10.0.0.1 >> ~/.ssh/known_hosts"),
        ({"command": "nc"}, "ssh agent1, and answer yes"),
        ({"jumps": (Way("j", "j", 22, "u"),)}, "ssh agent1, and answer yes"),
        ({"known_as": "alias"}, "ssh agent1, and answer yes"),
    ],
)
def test_an_unknown_key_is_refused_and_told_how_to_take(changes: dict[str, object], step: str) -> None:
    words = refusal(way(**changes), [], ED, b"key")
    assert words.startswith(f"its host key is not known, {ED} SHA256:")
    assert "(ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub)" in words
    assert words.endswith(step)


def test_known_kinds_are_asked_for_first() -> None:
    offered = (ED, "ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256")
    assert preferred(["ssh-rsa"], offered) == ("rsa-sha2-512", "rsa-sha2-256", ED, "ecdsa-sha2-nistp256")
    assert preferred([], offered) == offered
