"""From which mirror the base image is made."""

from __future__ import annotations

import pytest

from cluster.images import base_image

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
