"""A registry that wants a token of another server for each question, and whose images are in a group."""

import base64
import io
import json
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from docker.errors import ImageNotFound

from cluster.image_ref import ImageRef
from cluster.images import build as image_build
from cluster.images import registry_api, registry_login
from cluster.images.registry_login import Access
from cluster.operations import images
from cluster.settings import Settings
from scripts.errors import ClusterError
from tests.archives import packed
from tests.conftest import own_settings
from tests.token_registry import TokenServer, token_registry

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def there(docker_client: Any) -> Iterator[tuple[str, TokenServer]]:
    with token_registry(docker_client) as made:
        yield made


@pytest.fixture
def address(there: tuple[str, TokenServer], secrets_folder: Path) -> str:
    """The registry's address; no login is kept yet."""
    return there[0]


@pytest.fixture
def settings(there: tuple[str, TokenServer], address: str, tmp_path: Path) -> Settings:
    """Those of a group, with the right login."""
    registry_login.keep(address, Access(there[1].user, there[1].password))
    return replace(own_settings(tmp_path), registry=address, registry_path="group/sub")


@pytest.fixture
def built(docker_client: Any, settings: Settings) -> Iterator[ImageRef]:
    """An image of the settings' worker, small and new."""
    ref = ImageRef.parse("worker:v1", settings.images)
    dockerfile = f"FROM scratch\nLABEL number={secrets.token_hex(4)}\nCOPY Dockerfile /\n"
    context = io.BytesIO(packed({"Dockerfile": dockerfile.encode()}))
    docker_client.images.build(fileobj=context, custom_context=True, tag=str(ref), rm=True)
    yield ref
    with suppress(ImageNotFound):
        docker_client.images.remove(str(ref), force=True)


def test_a_right_login_is_right_and_a_wrong_one_wrong(there: tuple[str, TokenServer], address: str) -> None:
    with pytest.raises(ClusterError, match="there is none"):
        registry_api.check(address)
    registry_login.keep(address, Access(there[1].user, "wrong"))
    with pytest.raises(ClusterError, match="not take the login"):
        registry_api.check(address)
    registry_login.keep(address, Access(there[1].user, there[1].password))
    registry_api.check(address)


def test_the_login_that_docker_has_is_used_too(there: tuple[str, TokenServer], address: str, tmp_path: Path) -> None:
    login = base64.b64encode(f"{there[1].user}:{there[1].password}".encode()).decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {address: {"auth": login}}}))
    registry_api.check(address)


def test_images_of_a_group_are_pushed_found_listed_and_pulled(
    docker_client: Any, settings: Settings, built: ImageRef
) -> None:
    assert str(built) == f"{settings.registry}/group/sub/worker:v1"
    image_build.refuse_useless_registry(docker_client, built)
    digest = image_build.push(docker_client, built, print)
    held = registry_api.RegistryClient(built.registry).image(built.name, built.tag)
    assert held
    assert held.digest == digest
    docker_client.images.remove(str(built))
    assert image_build.deployable(docker_client, built) == f"{built.repository}@{digest}"
    # This login may not have the catalog, so the names that are usual here are looked for.
    (listed,) = json.loads(images.listed(settings, as_json=True))
    assert (listed["name"], listed["tag"], listed["digest"]) == ("group/sub/worker", "v1", digest)
    login = registry_login.auth_config(built.registry)
    assert docker_client.images.pull(built.repository, tag=built.tag, auth_config=login)


def test_what_the_login_may_not_do_is_not_called_a_wrong_login(
    docker_client: Any, settings: Settings, built: ImageRef
) -> None:
    others = ImageRef.parse(f"{settings.registry}/others/worker:v1")
    docker_client.images.get(str(built)).tag(others.repository, tag=others.tag)
    with pytest.raises(ClusterError, match="no right"):
        image_build.push(docker_client, others, print)
    with pytest.raises(registry_api.NoRight, match="/v2/others/worker/manifests/v1"):
        registry_api.RegistryClient(others.registry).image(others.name, others.tag)
    with pytest.raises(registry_api.NoRight, match="_catalog"):
        registry_api.stored(settings.registry)
    docker_client.images.remove(str(others))
