"""What an image is made from and says of itself, as values, and its revision in a real git repository."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from cluster.apps.app import Image
from cluster.components import WORKER, Component
from cluster.image_ref import ImageRef
from cluster.images import base_image, sources
from cluster.images import build as image_build
from cluster.images.build import revision_of
from cluster.operations.freshness import tell_older


def test_an_image_says_which_version_and_commit_it_is() -> None:
    labels = image_build.labels(WORKER, ImageRef.parse("worker:v7"))
    assert labels["org.opencontainers.image.version"] == "v7"
    revision = labels.get("org.opencontainers.image.revision", "0" * 40)  # a copy without git has none
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", revision)


@pytest.fixture
def component(tmp_path: Path) -> Component:
    for name in ("components/tried/Dockerfile", "components/tried/tried-app.json", "shared/a", "other/a"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("as it was")
    return Component("tried", "/tried", shared=("shared",), root=tmp_path)


@pytest.mark.parametrize(
    "name", ["components/tried/Dockerfile", "components/tried/new", "components/tried/a/new", "shared/a", "shared/new"]
)
def test_a_file_that_goes_into_an_image_changes_its_digest(component: Component, name: str) -> None:
    before = sources.digest(component)
    (component.root / name).parent.mkdir(exist_ok=True)
    (component.root / name).write_text("new")
    assert sources.digest(component) != before


@pytest.mark.parametrize("name", ["components/tried/tried-app.json", "shared/__pycache__/a.pyc", "other/a"])
def test_a_file_that_goes_into_no_image_changes_no_digest(component: Component, name: str) -> None:
    before = sources.digest(component)
    (component.root / name).parent.mkdir(exist_ok=True)
    (component.root / name).write_text("new")
    assert sources.digest(component) == before


def test_a_renamed_file_and_a_link_that_leads_elsewhere_are_other_files(component: Component) -> None:
    link = component.root / "shared" / "link"
    link.symlink_to("a")
    found = [sources.digest(component)]
    link.rename(link.with_name("renamed"))
    found.append(sources.digest(component))
    link.symlink_to("b")
    found.append(sources.digest(component))
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(("known", "lines"), [(sources.digest(WORKER), 0), ("", 0), ("0" * 64, 1)])
def test_an_image_of_other_files_is_told(known: str, lines: int) -> None:
    said: list[str] = []
    tell_older(Image("localhost:5000/worker:v7", "worker:v7", sources=known), said.append)
    assert len(said) == lines
    assert all("worker:v7" in line for line in said)


def test_only_the_proxy_of_the_environment_is_handed_on() -> None:
    environ = {"HTTPS_PROXY": "http://proxy:3128", "no_proxy": "localhost", "http_proxy": "", "AMQP_PASSWORD": "secret"}
    assert image_build.proxies(environ) == {"HTTPS_PROXY": "http://proxy:3128", "no_proxy": "localhost"}


@pytest.mark.parametrize(
    ("image", "machine", "emulators", "runs"),
    [
        (["amd64"], "amd64", [], True),
        (["arm64"], "amd64", [], False),
        (["arm64", "amd64"], "amd64", [], True),
        (["386"], "amd64", [], True),
        (["amd64"], "386", [], False),
        (["arm"], "arm64", [], True),
        (["arm64"], "amd64", ["register", "qemu-aarch64"], True),
        (["arm64"], "amd64", ["register", "qemu-arm"], False),
        ([], "amd64", [], True),
        (["arm64"], "", [], True),
    ],
)
def test_an_image_runs_where_its_architecture_or_an_emulator_is(
    image: list[str], machine: str, emulators: list[str], runs: bool
) -> None:
    assert (not image_build.mismatch(image, machine, emulators)) == runs


SIGNED = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"


@pytest.mark.parametrize(
    ("targets", "mirror", "sources"),
    [
        ("", "", []),
        ("Ubuntu|Ubuntu|http://mirror.example/ubuntu/\n", "", []),
        ("Debian|Debian|file:/srv/debian/\n", "", []),
        (
            "Other|Other|https://other.example/debian/\n"
            "Debian|Debian|http://mirror.example/debian/\n"
            "Debian|Debian|http://second.example/debian/\n"
            "Debian|Debian-Security|http://mirror.example/debian-security/\n",
            "",
            [
                f"{SIGNED} http://mirror.example/debian trixie main",
                f"{SIGNED} http://mirror.example/debian trixie-updates main",
                f"{SIGNED} http://mirror.example/debian-security trixie-security main",
            ],
        ),
        (
            "Debian|Debian|http://mirror.example/debian/\n",
            "http://own.example/debian",
            [
                f"{SIGNED} http://own.example/debian trixie main",
                f"{SIGNED} http://own.example/debian trixie-updates main",
            ],
        ),
    ],
)
def test_debian_comes_from_where_apt_gets_it(targets: str, mirror: str, sources: list[str]) -> None:
    assert base_image.debian_sources(targets, mirror) == sources


def test_an_https_mirror_needs_certificates_in_the_image() -> None:
    def included(url: str) -> bool:
        return "--include=ca-certificates" in base_image.mmdebstrap_command([f"{SIGNED} {url} trixie main"])

    assert included("https://mirror.example/debian")
    assert not included("http://mirror.example/debian")


def test_without_a_known_mirror_mmdebstrap_chooses() -> None:
    assert base_image.mmdebstrap_command([])[-3:] == [
        "trixie", "-", "--keyring=/usr/share/keyrings/debian-archive-keyring.gpg",
    ]  # fmt: skip


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    git(tmp_path, "init", "-q")
    return tmp_path


def git(repo: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", repo, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(repo: Path, name: str, text: str) -> str:
    path = repo / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    git(repo, "add", name)
    git(repo, "commit", "-q", "-m", "a change")
    return git(repo, "rev-parse", "HEAD")


def test_it_is_the_commit_that_changed_the_folder_last(repo: Path) -> None:
    first = commit(repo, "one/file", "1")
    second = commit(repo, "two/file", "2")
    assert revision_of([repo / "one"], repo) == first
    assert revision_of([repo / "one", repo / "two"], repo) == second


@pytest.mark.parametrize("name", ["one/file", "one/new"])
def test_files_that_differ_from_it_are_told(repo: Path, name: str) -> None:
    known = commit(repo, "one/file", "1")
    (repo / "elsewhere").write_text("2")
    assert revision_of([repo / "one"], repo) == known
    (repo / name).write_text("2")
    assert revision_of([repo / "one"], repo) == f"{known}-dirty"


def test_without_a_commit_there_is_none(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    commit(repo, "one/file", "1")
    assert revision_of([repo / "never"], repo) == ""
    outside = tmp_path_factory.mktemp("outside")
    assert revision_of([outside], outside) == ""
