"""The registry's flags as a person gets them wrong: one line each, before anything is asked or built."""

from typing import Any

import pytest
from invoke import Collection, Config, Context
from invoke.exceptions import Exit

import tasks
from tests.conftest import defaults

NAMESPACE: Collection = tasks.namespace


def run(name: str, *, registry_setting: str = "localhost:5000", **flags: Any) -> str:
    """The one line that a task ends with."""
    config = defaults() | {"registry": registry_setting}
    with pytest.raises(Exit) as failure:
        NAMESPACE[name](Context(Config(overrides=config)), **flags)
    text = str(failure.value.message)
    assert text.startswith("error: ")
    assert "\n" not in text
    return text


@pytest.mark.parametrize("name", ["queue.build", "worker.build", "registry.list", "registry.status"])
@pytest.mark.parametrize("registry", ["foo", "http://10.0.0.5:5000", "10.0.0.5:5000/Amqp"])
def test_a_registry_that_is_none_is_refused(name: str, registry: str) -> None:
    assert repr(registry) in run(name, registry=registry)


def test_no_registry_an_address_without_a_host_and_a_host_that_is_none_are_told() -> None:
    assert "no registry is named" in run("registry.list", registry_setting="")
    assert "--address" in run("registry.up", address="10.0.0.5:5000")
    for dry_run in (False, True):
        assert "'a b'" in run("registry.up", host="a b", dry_run=dry_run)
