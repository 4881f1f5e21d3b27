"""The logins that the docker command keeps: plain ones, and those of credential helpers, broken ones too."""

import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cluster import programs
from cluster.engine import logins
from cluster.images import registry_login
from scripts.errors import ClusterError

OURS, OTHER = "registry.example:5000", "other.example"
AUTHS = {"auth": base64.b64encode(b"me:plain").decode()}
ANSWERS = (
    """read -r server; echo "$server" >>"$0.asked"; printf '{"ServerURL":"","Username":"%s","Secret":"s"}' "${1}er" """
)


@pytest.fixture
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration of docker's own, and a folder for helpers on PATH."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path / "config.json"


def helper(folder: Path, name: str, text: str) -> Path:
    path = folder / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def refused(registry: str = OURS) -> str:
    with pytest.raises(ClusterError) as caught:
        logins.of(registry)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_plain_login_is_found(docker_config: Path) -> None:
    docker_config.write_text(json.dumps({"auths": {f"https://{OURS}": AUTHS}}))
    assert {key: logins.of(OURS)[key] for key in ("username", "password")} == {"username": "me", "password": "plain"}
    assert logins.of(OTHER) == {}


def test_without_a_configuration_there_is_none(docker_config: Path) -> None:
    assert logins.of(OURS) == {}


def test_a_helper_is_asked_for_its_registry_alone(docker_config: Path) -> None:
    asked = helper(docker_config.parent, "good", ANSWERS).with_suffix(".asked")
    docker_config.write_text(json.dumps({"credHelpers": {OURS: "good", OTHER: "missing"}}))
    assert logins.of(OURS) == {"username": "geter", "password": "s"}
    assert asked.read_text() == f"{OURS}\n"
    assert logins.of("third.example") == {}


def test_a_token_is_one(docker_config: Path) -> None:
    helper(docker_config.parent, "token", """echo '{"Username":"<token>","Secret":"s"}'""")
    docker_config.write_text(json.dumps({"credsStore": "token"}))
    assert logins.of(OURS) == {"identitytoken": "s"}


@pytest.mark.parametrize(
    "text", ["echo credentials not found in native keychain; exit 1", """echo '{"Username":"","Secret":""}'"""]
)
def test_what_a_store_has_not_is_no_failure(docker_config: Path, text: str) -> None:
    helper(docker_config.parent, "store", text)
    docker_config.write_text(json.dumps({"credsStore": "store", "auths": {OURS: AUTHS}}))
    assert logins.of(OURS)["password"] == "plain"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("echo it is locked >&2; exit 1", "fails: it is locked: mend it, or take it out of that file"),
        ("exit 3", "fails: exit 3: "),
        ("echo '[]'", "does not answer as one: "),
        ("echo nothing", "does not answer as one: "),
    ],
)
def test_a_helper_that_fails_is_named_with_its_file(docker_config: Path, text: str, words: str) -> None:
    helper(docker_config.parent, "bad", text)
    docker_config.write_text(json.dumps({"credHelpers": {OURS: "bad"}}))
    start = f"the credential helper docker-credential-bad of {docker_config}, which has the login of {OURS}, "
    assert refused().startswith(start + words)


def test_a_helper_that_is_missing_is_named(docker_config: Path) -> None:
    docker_config.write_text(json.dumps({"credsStore": "missing"}))
    assert "docker-credential-missing" in refused()
    assert "is not installed" in refused()


def test_a_registry_of_this_machine_is_asked_for_where_docker_knows_it(docker_config: Path) -> None:
    here = "localhost:5000"
    docker_config.write_text(json.dumps({"credsStore": "missing"}))
    assert logins.of(here) == {}
    docker_config.write_text(json.dumps({"credsStore": "missing", "auths": {here: {}}}))
    assert "is not installed" in refused(here)


def test_a_helper_that_hangs_is_ended_with_all_it_started(docker_config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "HELPER_TIMEOUT_S", 1)
    helper(docker_config.parent, "slow", f"sleep 600 & echo $! >{docker_config.parent}/child; wait")
    docker_config.write_text(json.dumps({"credHelpers": {OURS: "slow"}}))
    assert "did not answer within 1 s" in refused()
    child = Path(f"/proc/{(docker_config.parent / 'child').read_text().strip()}")
    while child.exists() and "(sleep) Z" not in (child / "stat").read_text():
        pass


def test_a_build_asks_for_what_it_is_made_from_alone(docker_config: Path) -> None:
    helper(docker_config.parent, "good", ANSWERS)
    config = {"credsStore": "missing", "credHelpers": {OURS: "good", OTHER: "missing"}, "auths": {OTHER: AUTHS}}
    client: Any = SimpleNamespace(api=SimpleNamespace(_auth_configs=config | {}))
    logins.of_build(client, f"# FROM {OTHER}/x\nfrom --platform=linux/amd64 {OURS}/base:1 AS one\nFROM debian:12\n")
    found = client.api._auth_configs.get_all_credentials()
    assert (found[OURS]["username"], sorted(found)) == ("geter", sorted([OTHER, OURS]))


def test_our_own_login_is_used_before_docker_s(docker_config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docker_config.write_text(json.dumps({"credsStore": "missing"}))
    monkeypatch.setattr("cluster.credentials.SECRETS", docker_config.parent)
    registry_login.keep(OURS, registry_login.Access("cluster", "hidden"))
    assert registry_login.auth_config(OURS) == {"username": "cluster", "password": "hidden"}


def test_a_program_has_no_terminal() -> None:
    assert programs.run(["sh", "-c", "true </dev/tty"], limit_s=60).returncode != 0
