"""What is given to a build, as values."""

import re

import pytest

from cluster.components import WORKER
from cluster.image_ref import ImageRef
from cluster.images import architecture
from cluster.images import build as image_build


def test_an_image_says_which_version_and_commit_it_is() -> None:
    labels = image_build.labels(WORKER, ImageRef.parse("worker:v7"))
    assert labels["org.opencontainers.image.version"] == "v7"
    revision = labels.get("org.opencontainers.image.revision", "0" * 40)  # a copy without git has none
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", revision)


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
    assert (not architecture.mismatch(image, machine, emulators)) == runs
