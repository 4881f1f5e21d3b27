from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cluster.settings import ROOT, Settings
from scripts.errors import ClusterError
from tests.conftest import defaults


@pytest.fixture
def config() -> dict[str, Any]:
    return defaults()


def test_invoke_yaml_is_read_whole(config: dict[str, Any]) -> None:
    settings = Settings.read(config)
    assert settings.queue.url == "amqp://127.0.0.1:5672"
    assert settings.worker.tag == "worker:v1"
    assert settings.registry == "localhost:5000"


def test_every_default_has_a_comment() -> None:
    lines = Path(ROOT / "invoke.yaml").read_text().splitlines()
    pairs = [(above, line) for above, line in pairwise(["", *lines]) if line and not line.endswith(":")]
    bare = [line for above, line in pairs if "#" not in line and not above.startswith("#")]
    assert bare == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"project": "My Project"}, "project: 'My Project'"),
        ({"project": ""}, "project: ''"),
        ({"scheduler": "kubernetes"}, "scheduler: 'kubernetes'"),
    ],
)
def test_a_value_that_cannot_be_is_named_with_its_key(
    config: dict[str, Any], change: dict[str, Any], words: str
) -> None:
    with pytest.raises(ClusterError, match=words):
        Settings.read(config | change)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("queue", "port", "many"), ("queue", "port", -1), ("worker", "cpus", "nan"), ("worker", "cpus", ".inf"),
     ("worker", "mem_mib", float("inf")), ("worker", "jobs", "-1"), ("agents", "timeout_s", "1e999")],
)  # fmt: skip
def test_a_number_that_is_none_is_named_with_its_key(
    config: dict[str, Any], section: str, key: str, value: Any
) -> None:
    config[section][key] = value
    with pytest.raises(ClusterError, match=rf"{section}\.{key}: {value!r} in invoke\.yaml: a number .*is needed"):
        Settings.read(config)
