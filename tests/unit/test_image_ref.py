import pytest

from cluster.image_ref import ImageRef, checked_registry, is_local, registry_address
from cluster.settings import Settings
from tests.conftest import defaults
from tests.refusing import refusal

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "registry", "rendered"),
    [
        ("amqp:v1", "", "amqp:v1"),
        ("amqp", "", "amqp:latest"),
        ("amqp:v1", "localhost:5000", "localhost:5000/amqp:v1"),
        ("team/amqp:v1", "localhost:5000", "localhost:5000/team/amqp:v1"),
        ("localhost/amqp:v1", "10.0.0.1:5000", "localhost/amqp:v1"),
        ("reg.example:443/amqp:v1", "localhost:5000", "reg.example:443/amqp:v1"),
        ("amqp:v1", "localhost:5000/group/sub", "localhost:5000/group/sub/amqp:v1"),
        ("group/sub/amqp:v1", "localhost:5000/group/sub", "localhost:5000/group/sub/amqp:v1"),
        ("reg.example:443/amqp:v1", "localhost:5000/group", "reg.example:443/amqp:v1"),
        (f"amqp@{DIGEST}", "localhost:5000", f"localhost:5000/amqp@{DIGEST}"),
        (f"amqp:v1@{DIGEST}", "", f"amqp@{DIGEST}"),
    ],
)
def test_a_name_without_a_registry_gets_the_default_one(text: str, registry: str, rendered: str) -> None:
    assert str(ImageRef.parse(text, registry)) == rendered


@pytest.mark.parametrize(
    "text",
    ["", ":v1", "amqp:", "Amqp:v1", "amqp:v 1", "amqp:-v", "a//b:v1", "a:v1:v2", "a@sha256:12", "-a:v1",
     "a:" + "x" * 129],
)  # fmt: skip
def test_what_is_no_image_name_is_named_in_one_line(text: str) -> None:
    assert repr(text) in refusal(ImageRef.parse, text, "localhost:5000")


@pytest.mark.parametrize("address", ["user:SECRET@host:5000", "http://user:SECRET@host:5000", "user:SE/CRET@host"])
def test_a_password_in_a_registry_s_address_is_refused_and_not_shown(address: str) -> None:
    for wrong in (
        lambda: ImageRef.parse(f"{address}/amqp:v1"),
        lambda: ImageRef.parse("amqp:v1", address),
        lambda: checked_registry(address),
        lambda: Settings.read(defaults() | {"registry": address}),
    ):
        found = refusal(wrong)
        assert "docker login" in found
        assert "SE" not in found


def test_the_same_image_by_its_content() -> None:
    assert str(ImageRef.parse("amqp:v1", "localhost:5000").at(DIGEST)) == f"localhost:5000/amqp@{DIGEST}"


@pytest.mark.parametrize("text", ["harbor.example/a/b", "localhost:5000", "registry.example/a/"])
def test_a_registry_may_have_groups_of_images(text: str) -> None:
    assert checked_registry(text) == text.rstrip("/")


@pytest.mark.parametrize("text", ["https://harbor.example/a", "harbor/a", "harbor.example//a", "harbor.example/A", "/"])
def test_what_is_no_place_for_images_is_named(text: str) -> None:
    assert repr(text) in refusal(checked_registry, text)


@pytest.mark.parametrize("registry", ["localhost:5000", "localhost", "127.0.0.1:5000", "127.1.2.3", "[::1]:5000"])
def test_a_loopback_address_is_local(registry: str) -> None:
    assert is_local(registry)


@pytest.mark.parametrize("registry", ["10.0.0.10:5000", "registry.example", "localhost.example:5000", "[fe80::1]:5000"])
def test_any_other_address_is_not(registry: str) -> None:
    assert not is_local(registry)


def test_a_registry_without_a_port_is_at_that_of_https() -> None:
    assert str(registry_address("registry.example")) == "registry.example:443"
    assert str(registry_address("[fe80::1]:5000")) == "[fe80::1]:5000"
    assert str(registry_address("[fe80::1]")) == "[fe80::1]:443"
    assert ":70000" in refusal(registry_address, "registry.example:70000")
