"""Where the stand-in for Marathon puts a task, and why not elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from tests.standin.canonical import canonical
from tests.standin.offers import Offer, choose, summary, why_not


def offer(hostname: str = "a", rack: str = "", **more: Any) -> Offer:
    attributes = {"rack": rack} if rack else {}
    has = {"cpus": 1.0, "mem_mib": 256.0, "ports": frozenset(range(31000, 31003))}
    return Offer(hostname, attributes=attributes, **has | more)


def app(**fields: Any) -> dict[str, Any]:
    return canonical({"id": "x", "cmd": "true", "cpus": 0.5, "mem": 128} | fields)


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (app(), ""),
        (app(cpus=1), ""),
        (app(cpus=1.1), "InsufficientCpus"),
        (app(mem=257), "InsufficientMemory"),
        (app(gpus=1), "InsufficientGpus"),
        (app(acceptedResourceRoles=["other"]), "UnfulfilledRole"),
        (app(constraints=[["hostname", "CLUSTER", "b"]], cpus=9), "UnfulfilledConstraint"),
        (app(portDefinitions=[{"port": 0}] * 4), "InsufficientPorts"),
        (app(portDefinitions=[{"port": 5672}]), ""),
        (app(portDefinitions=[{"port": 5672}], requirePorts=True), "InsufficientPorts"),
        (app(portDefinitions=[{"port": 31001}], requirePorts=True), ""),
    ],
)
def test_an_offer_is_declined_for_the_first_reason(wanted: dict[str, Any], reason: str) -> None:
    assert why_not(wanted, [], offer()) == reason


@pytest.mark.parametrize(
    ("constraint", "placed", "fits"),
    [
        (["hostname", "CLUSTER", "a"], [], True),
        (["@hostname", "CLUSTER", "b"], [], False),
        (["hostname", "CLUSTER"], [], True),
        (["hostname", "CLUSTER"], ["a"], True),
        (["hostname", "CLUSTER"], ["b"], False),
        (["hostname", "UNIQUE"], ["b"], True),
        (["hostname", "UNIQUE"], ["b", "a"], False),
        (["hostname", "LIKE", "a|b"], [], True),
        (["hostname", "LIKE", "ab?c"], [], False),
        (["hostname", "UNLIKE", "a|b"], [], False),
        (["hostname", "UNLIKE", "b"], [], True),
        (["rack", "UNLIKE", "r1"], [], True),
        (["rack", "LIKE", ".*"], [], False),
        (["hostname", "MAX_PER", "2"], ["a", "b"], True),
        (["hostname", "MAX_PER", "2"], ["a", "a"], False),
        (["hostname", "IS", "a"], [], True),
        (["hostname", "IS", "b"], [], False),
        (["hostname", "GROUP_BY", "2"], ["a", "b"], True),
        (["hostname", "GROUP_BY", "2"], ["a", "a", "b"], False),
        (["hostname", "GROUP_BY", "2"], ["b", "c"], False),
        (["hostname", "unique"], ["a"], False),
    ],
)
def test_constraints(constraint: list[str], placed: list[str], fits: bool) -> None:
    wanted = app(instances=4, constraints=[constraint])
    assert (why_not(wanted, [offer(name) for name in placed], offer()) == "") == fits


def test_an_agent_may_have_attributes() -> None:
    assert why_not(app(constraints=[["rack", "LIKE", "r[12]"]]), [], offer(rack="r2")) == ""


def test_the_first_that_fits_is_taken_and_the_reasons_before_it_are_told() -> None:
    full = offer("full", cpus=0.1)
    chosen, reasons = choose(app(), [], [full, offer("good"), offer("better")])
    assert chosen
    assert (chosen.hostname, reasons) == ("good", ["InsufficientCpus"])
    assert choose(app(), [], [full]) == (None, ["InsufficientCpus"])


def test_the_summary_is_a_funnel() -> None:
    lines = summary(["InsufficientCpus", "UnfulfilledConstraint", "InsufficientCpus"], 4)
    told = {line["reason"]: (line["declined"], line["processed"]) for line in lines}
    assert told["UnfulfilledRole"] == (0, 4)
    assert told["UnfulfilledConstraint"] == (1, 4)
    assert told["InsufficientCpus"] == (2, 3)
    assert told["InsufficientMemory"] == (0, 1)
