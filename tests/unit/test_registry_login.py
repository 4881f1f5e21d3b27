"""Logins of registries: where they are kept, that they are kept whole and secret, and their hash."""

import json
import stat
from pathlib import Path

import pytest

from cluster import credentials
from cluster.atomic_file import write_atomically
from cluster.images import registry_login
from cluster.images.registry_login import Access
from scripts.errors import ClusterError

pytestmark = pytest.mark.usefixtures("secrets_folder")

REGISTRY = "10.0.0.5:5000"


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
    with pytest.raises(ClusterError, match=r"registry-10.0.0.5:5000.json holds no login") as failure:
        registry_login.for_registry(REGISTRY)
    assert "\n" not in str(failure.value)


def test_a_ca_that_is_gone_is_named(access: Access) -> None:
    registry_login.keep(REGISTRY, access)
    assert access.ca
    access.ca.unlink()
    with pytest.raises(ClusterError, match=f"ca.pem is missing, the CA of {REGISTRY}"):
        registry_login.for_registry(REGISTRY)


def test_a_login_without_a_ca_is_for_a_certificate_that_the_system_trusts(access: Access) -> None:
    registry_login.place(REGISTRY).write_text(json.dumps({"user": "me", "password": "p"}))
    assert registry_login.for_registry(REGISTRY) == Access("me", "p", None)


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(path, b"second")
    assert [one.name for one in tmp_path.iterdir()] == ["folder"]
