"""known_hosts: which keys a host may show."""

import subprocess
from pathlib import Path

import pytest

from cluster.hosts.host_keys import (
    AUTHORITY,
    REVOKED,
    KnownKey,
    Shown,
    contents,
    fingerprint,
    known_keys,
    names_of,
    preferred,
    refusal,
)
from cluster.hosts.ssh_config import Way

pytestmark = pytest.mark.program("ssh-keygen")

KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIO7T0bNJ8NV4oV1yK3IVpHTi8AhCjvvlGYJDbFtn4N4S"
OTHER = "AAAAC3NzaC1lZDI1NTE5AAAAIGkXeqdL7jPqD1Hw2Z0vyJPC0oUqBZ3xEp4C0wZ8v8Qk"
ED = "ssh-ed25519"
CERTIFIED = f"{ED}-cert-v01@openssh.com"
KNOWN_HOSTS = (Path("/k"),)


def known(folder: Path, text: str, *names: str) -> list[KnownKey]:
    file = folder / "known_hosts"
    file.write_text(text)
    return known_keys(contents([folder / "not-there", folder, file]), names)


def way(**changes: object) -> Way:
    return Way("agent1", "10.0.0.1", 22, "root", **{"known_hosts": KNOWN_HOSTS} | changes)  # type: ignore[arg-type]


def test_the_keys_of_the_best_name_are_known_and_where_they_stand(tmp_path: Path) -> None:
    text = f"# hosts\n\n[a]:2222 {ED} {KEY} me@here\n a {ED} {OTHER}\n[*]:2222\t{ED}  {OTHER}\n"
    found = known(tmp_path, text, "[a]:2222", "a")
    assert [key.place.rpartition("/")[2] for key in found] == ["known_hosts line 3", "known_hosts line 5"]
    assert [key.place.rpartition(" ")[2] for key in known(tmp_path, text, "b", "a")] == ["4"]


def test_what_a_line_says_of_its_key_is_known(tmp_path: Path) -> None:
    text = f"@cert-authority *.org,!bad.org {ED} {KEY}\n@revoked * {ED} {OTHER}\n"
    assert [key.marker for key in known(tmp_path, text, "good.org")] == [AUTHORITY, REVOKED]
    assert [key.marker for key in known(tmp_path, text, "bad.org")] == [REVOKED]


@pytest.mark.parametrize(
    "line", ["a", f"a {ED}", f"a {ED} !!!", f"a {ED} AAA", "@revoked", "@revoked a", "|1|x|y z w",
             f"@nothing a {ED} {KEY}", f"|2|AAAA|AAAA {ED} {KEY}", f"#a {ED} {KEY}"],
)  # fmt: skip
def test_a_line_that_is_not_understood_lets_nobody_in(tmp_path: Path, line: str) -> None:
    assert known(tmp_path, f"{line}\n", "a") == []
    assert len(known(tmp_path, f"{line}\na {ED} {KEY}\n", "a")) == 1


def test_lines_of_a_program_are_read_as_those_of_a_file() -> None:
    (found,) = known_keys({"it": f"b {ED} {OTHER}\na {ED} {KEY}\n".encode()}, ["[a]:22", "a"])
    assert (found.place, found.kind) == ("it line 2", ED)
    assert known_keys({"it": b"nothing"}, ["a"]) == []


def test_hidden_names_and_fingerprints_are_openssh_s(tmp_path: Path) -> None:
    file = tmp_path / "hidden"
    file.write_text(f"agent1 {ED} {KEY}\n[agent1]:2222 {ED} {OTHER}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    assert "agent1" not in file.read_text()
    (one,) = known_keys(contents([file]), ["agent1"])
    (other,) = known_keys(contents([file]), ["[agent1]:2222"])
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
    assert refusal(way(), keys, Shown(ED, b"two")) == ""
    assert "f line 3" in refusal(way(), [*keys, KnownKey(ED, b"two", "f line 3", REVOKED)], Shown(ED, b"two"))


def test_a_key_that_is_another_is_refused_and_told_what_to_do() -> None:
    words = refusal(way(), [KnownKey("ssh-rsa", b"one", "/k h line 1")], Shown(ED, b"two"))
    assert words.startswith(f"its host key has changed: it shows {ED} SHA256:")
    assert "ssh-keygen -R '10.0.0.1' -f '/k h'" in words
    only_revoked = [KnownKey(ED, b"one", "f line 1", REVOKED)]
    assert refusal(way(), only_revoked, Shown(ED, b"two")).startswith("its host key is not known")


def test_a_ca_s_key_is_no_host_s() -> None:
    ca = [KnownKey(ED, b"one", "f line 1", AUTHORITY)]
    assert refusal(way(), ca, Shown(ED, b"one")).startswith(f"its host key {ED} SHA256:")
    assert "f line 1 wants a certificate of its CA" in refusal(way(), ca, Shown(ED, b"one"))


@pytest.mark.parametrize(
    ("changes", "step"),
    [
        ({}, "ssh-keyscan -t ed25519 10.0.0.1 >> /k"),
        ({"known_hosts": ()}, "UserKnownHostsFile"),
        ({"known_hosts": (Path("/dev/null"),)}, "UserKnownHostsFile"),
        ({"command": "nc"}, "ssh agent1, "),
        ({"jumps": (Way("j", "j", 22, "u"),)}, "ssh agent1, "),
        ({"known_as": "alias"}, "ssh agent1, "),
    ],
)
def test_an_unknown_key_is_refused_and_told_how_to_take(changes: dict[str, object], step: str) -> None:
    words = refusal(way(**changes), [], Shown(ED, b"key"))
    assert words.startswith(f"its host key is not known, {ED} SHA256:")
    assert "(ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub)" in words
    assert step in words


def test_keys_that_the_person_has_revoked_are_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{ED} {KEY}\n")
    (tmp_path / "other").write_text(f"{ED} {OTHER}\n")
    keys = {name: known_keys({"": f"a {ED} {key}".encode()}, ["a"]) for name, key in (("key", KEY), ("other", OTHER))}
    subprocess.run(["ssh-keygen", "-q", "-k", "-f", tmp_path / "krl", tmp_path / "key"], check=True)
    for file in ("krl", "key"):  # a binary list, and keys as text
        theirs = way(revoked=tmp_path / file)
        assert "is one of RevokedHostKeys" in refusal(theirs, keys["key"], Shown(ED, keys["key"][0].blob))
        assert refusal(theirs, keys["other"], Shown(ED, keys["other"][0].blob)) == ""
    nowhere = way(revoked=tmp_path / "nowhere")
    assert "that file cannot be read" in refusal(nowhere, keys["key"], Shown(ED, keys["key"][0].blob))


def test_known_kinds_are_asked_for_first() -> None:
    offered = (ED, "ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256", CERTIFIED)
    assert preferred([KnownKey("ssh-rsa", b"", "")], offered) == (
        "rsa-sha2-512", "rsa-sha2-256", ED, "ecdsa-sha2-nistp256", CERTIFIED
    )  # fmt: skip
    assert preferred([], offered) == offered
    assert preferred([KnownKey("ssh-rsa", b"", "", AUTHORITY)], offered)[0] == CERTIFIED
