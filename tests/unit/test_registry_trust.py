"""What is written so that an engine trusts a registry, and what is said where nothing may be written."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.images import registry_trust

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
    registry_trust.trust(engine(), REGISTRY, ca, said.append)
    assert trusted.read_bytes() == b"CA"
    assert [path.name for path in trusted.parent.iterdir()] == ["ca.crt"]
    assert said == [f"this machine's Docker Engine trusts {REGISTRY} from now on: {trusted}"]


def test_done_again_it_writes_and_says_nothing(ca: Path, trusted: Path) -> None:
    registry_trust.trust(engine(), REGISTRY, ca, print)
    before, said = trusted.stat().st_ino, list[str]()
    registry_trust.trust(engine(), REGISTRY, ca, said.append)
    assert (trusted.stat().st_ino, said) == (before, [])


def test_another_ca_takes_the_place_of_the_old_one(ca: Path, trusted: Path) -> None:
    registry_trust.trust(engine(), REGISTRY, ca, print)
    ca.write_bytes(b"new")
    registry_trust.trust(engine(), REGISTRY, ca, print)
    assert trusted.read_bytes() == b"new"


def test_where_it_may_not_write_it_says_the_command(ca: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/proc")  # where nobody may, root included
    said: list[str] = []
    registry_trust.trust(engine(), REGISTRY, ca, said.append)
    command = f"sudo install -D -m 644 '{ca}' /proc/docker/certs.d/{REGISTRY}/ca.crt"
    assert said == [f"let this machine's Docker Engine trust {REGISTRY}: {command}"]


def test_an_engine_elsewhere_is_not_trusted_with_a_file_here(ca: Path, trusted: Path) -> None:
    said: list[str] = []
    registry_trust.trust(engine("http+docker://ssh"), REGISTRY, ca, said.append)
    assert not trusted.exists()
    assert len(said) == 1
    assert "on another machine" in said[0]
