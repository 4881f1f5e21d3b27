"""How a registry is got into: logins of ours, kept whole and secret, and what lets an engine trust it."""

import json
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cluster import credentials
from cluster.files import write_atomically
from cluster.images import registry_errors, registry_login
from cluster.images.registry_login import Access
from tests.refusing import refusal

pytestmark = pytest.mark.usefixtures("secrets_folder")


@pytest.fixture
def access(secrets_folder: Path) -> Access:
    write_atomically(secrets_folder / "ca.pem", b"CA")
    return Access("cluster", "hidden", secrets_folder / "ca.pem")


def test_a_login_that_was_kept_is_found_by_its_registry_alone(access: Access) -> None:
    registry_login.keep(REGISTRY, access)
    assert registry_login.for_registry(REGISTRY) == access
    assert registry_login.for_registry("10.0.0.5:5001") is None
    assert registry_login.auth_config(REGISTRY) == {"username": "cluster", "password": "hidden"}
    assert registry_login.auth_config("localhost:5000") == {}


def test_it_is_for_its_owner_alone_and_is_not_shown(access: Access, secrets_folder: Path) -> None:
    registry_login.keep(REGISTRY, access)
    assert stat.S_IMODE(registry_login.place(REGISTRY).stat().st_mode) == 0o600
    assert stat.S_IMODE(secrets_folder.stat().st_mode) == 0o700
    assert "hidden" not in repr(access)


def test_the_folder_can_be_moved(access: Access, secrets_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry_login.keep(REGISTRY, access)
    moved = secrets_folder.rename(secrets_folder.with_name("moved"))
    monkeypatch.setattr(credentials, "SECRETS", moved)
    found = registry_login.for_registry(REGISTRY)
    assert found is not None
    assert found.ca == moved / "ca.pem"


def test_kept_again_nothing_is_written(access: Access) -> None:
    registry_login.keep(REGISTRY, access)
    before = registry_login.place(REGISTRY).stat().st_ino
    registry_login.keep(REGISTRY, access)
    assert registry_login.place(REGISTRY).stat().st_ino == before


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"user": "cluster"}', "null"])
def test_a_file_that_is_none_of_ours_is_one_line(access: Access, text: str) -> None:
    registry_login.place(REGISTRY).write_text(text)
    assert "registry-10.0.0.5:5000.json" in refusal(registry_login.for_registry, REGISTRY)


def test_a_ca_that_is_gone_is_named(access: Access) -> None:
    registry_login.keep(REGISTRY, access)
    assert access.ca
    access.ca.unlink()
    assert str(access.ca) in refusal(registry_login.for_registry, REGISTRY)


def test_a_login_without_a_ca_is_for_a_certificate_that_the_system_trusts(access: Access) -> None:
    registry_login.place(REGISTRY).write_text(json.dumps({"user": "me", "password": "p"}))
    assert registry_login.for_registry(REGISTRY) == Access("me", "p", None)


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(path, b"second")
    assert [one.name for one in tmp_path.iterdir()] == ["folder"]


REGISTRY = "10.0.0.5:5000"


def engine(url: str = "http+docker://localhost") -> Any:
    """As much of the SDK's client as is asked: where it is, and that it is rootless."""
    return SimpleNamespace(api=SimpleNamespace(base_url=url), info=lambda: {"SecurityOptions": ["name=rootless"]})


@pytest.fixture
def ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = tmp_path / "the ca.pem"
    path.write_bytes(b"CA")
    return path


@pytest.fixture
def trusted(tmp_path: Path) -> Path:
    return tmp_path / "config" / "docker" / "certs.d" / REGISTRY / "ca.crt"


def test_a_rootless_engine_looks_in_its_users_folder(ca: Path, trusted: Path) -> None:
    said: list[str] = []
    registry_errors.trust(engine(), REGISTRY, ca, said.append)
    assert trusted.read_bytes() == b"CA"
    assert [path.name for path in trusted.parent.iterdir()] == ["ca.crt"]
    assert said == [f"this machine's Docker Engine trusts {REGISTRY} from now on: {trusted}"]


def test_done_again_it_writes_and_says_nothing(ca: Path, trusted: Path) -> None:
    registry_errors.trust(engine(), REGISTRY, ca, print)
    before, said = trusted.stat().st_ino, list[str]()
    registry_errors.trust(engine(), REGISTRY, ca, said.append)
    assert (trusted.stat().st_ino, said) == (before, [])


def test_another_ca_takes_the_place_of_the_old_one(ca: Path, trusted: Path) -> None:
    registry_errors.trust(engine(), REGISTRY, ca, print)
    ca.write_bytes(b"new")
    registry_errors.trust(engine(), REGISTRY, ca, print)
    assert trusted.read_bytes() == b"new"


def test_where_it_may_not_write_it_says_the_command(ca: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/proc")  # where nobody may, root included
    said: list[str] = []
    registry_errors.trust(engine(), REGISTRY, ca, said.append)
    command = f"sudo install -D -m 644 '{ca}' /proc/docker/certs.d/{REGISTRY}/ca.crt"
    assert said == [f"let this machine's Docker Engine trust {REGISTRY}: {command}"]


def test_an_engine_elsewhere_is_not_trusted_with_a_file_here(ca: Path, trusted: Path) -> None:
    said: list[str] = []
    registry_errors.trust(engine("http+docker://ssh"), REGISTRY, ca, said.append)
    assert not trusted.exists()
    assert len(said) == 1
    assert "on another machine" in said[0]
