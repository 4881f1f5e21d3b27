"""What is given to a build, as values."""

import re

from cluster import images
from cluster.components import WORKER
from cluster.image_ref import ImageRef


def test_an_image_says_which_version_and_commit_it_is() -> None:
    labels = images.labels(WORKER, ImageRef.parse("worker:v7"))
    assert labels["org.opencontainers.image.version"] == "v7"
    revision = labels.get("org.opencontainers.image.revision", "0" * 40)  # a copy without git has none
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", revision)


def test_only_the_proxy_of_the_environment_is_handed_on() -> None:
    environ = {"HTTPS_PROXY": "http://proxy:3128", "no_proxy": "localhost", "http_proxy": "", "AMQP_PASSWORD": "secret"}
    assert images.proxies(environ) == {"HTTPS_PROXY": "http://proxy:3128", "no_proxy": "localhost"}
