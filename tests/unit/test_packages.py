"""Which of Debian's packages an image gets, in which steps, and what a name that is none may have meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.components import WORKER
from cluster.images import packages
from cluster.images.packages import dockerfile_with, grouped, named, nearest
from scripts.errors import ClusterError

KNOWN = {
    "imagemagick",
    "python3-numpy",
    "r-cran-data.table",
    "r-cran-jsonlite",
    "python3-yaml",
    "r-cran-yaml",
    "gdal-bin",
}


def test_a_file_names_packages_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "packages.txt"
    assert named(path) == {}
    path.write_text("# all\nr-cran-jsonlite # for R\n\n  gdal-bin python3-numpy\ngdal-bin\n")
    assert named(path) == {"r-cran-jsonlite": 2, "gdal-bin": 4, "python3-numpy": 4}


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "packages.txt"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ClusterError, match="cannot be read"):
        named(path)


@pytest.mark.parametrize(
    ("wanted", "earlier", "groups"),
    [
        ("", [], ""),
        ("b a", [], "a b"),
        ("a b c", ["a b"], "a b|c"),
        ("a b c", ["a|b"], "a|b|c"),
        ("a c", ["a b|c"], "a c"),
        ("a c", ["a|b|c"], "a|c"),
        ("a b", ["a|b|c"], "a|b"),
        ("a b c", ["a", "a b|x", "b"], "a b|c"),
    ],
)
def test_what_an_earlier_build_installed_is_not_installed_again(wanted: str, earlier: list[str], groups: str) -> None:
    read = lambda text: tuple(tuple(group.split()) for group in text.split("|") if group)  # noqa: E731
    assert grouped(wanted.split(), map(read, earlier)) == read(groups)


def test_many_groups_become_one_since_an_image_has_not_many_layers() -> None:
    before = tuple((f"p{number}",) for number in range(packages.MOST_GROUPS))
    names = [name for (name,) in before]
    assert grouped(names, [before]) == before
    assert grouped([*names, "new"], [before]) == (tuple(sorted([*names, "new"])),)


def test_the_groups_are_installed_after_r_and_before_the_actions_come() -> None:
    text = WORKER.dockerfile.read_text()
    steps = [
        line
        for line in dockerfile_with(text, (("one", "two"), ("three",))).splitlines()
        if line[:4] in ("RUN ", "COPY")
    ]
    places = [
        next(place for place, step in enumerate(steps) if word in step) for word in (" one two ", " three ", "COPY")
    ]
    assert places == list(range(places[0], places[0] + 3))
    assert places[0] > 0
    assert dockerfile_with(text, ()) == text


def test_a_dockerfile_without_a_place_for_packages_is_told_of() -> None:
    with pytest.raises(ClusterError, match=r"# packages\.txt"):
        dockerfile_with("FROM debian\n", (("one",),))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("pyton3-numpy", ["python3-numpy"]),
        ("r-cran-jsonlit", ["r-cran-jsonlite"]),
        ("r-cran-JSONlite", ["r-cran-jsonlite"]),
        ("data.table", ["r-cran-data.table"]),
        ("numpyy", ["python3-numpy"]),
        ("r-cran-numpy", ["python3-numpy"]),
        ("yaml", ["r-cran-yaml", "python3-yaml"]),
        ("r-cran-yam", ["r-cran-yaml"]),
        ("imagemagik", ["imagemagick"]),
        ("gdal_bin", ["gdal-bin"]),
        ("zzzz", []),
    ],
)
def test_a_name_that_is_none_has_a_nearest(name: str, meant: list[str]) -> None:
    assert sorted(nearest(name, KNOWN)) == sorted(meant)
