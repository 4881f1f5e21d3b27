"""The neutral app: its digest, and what is kept of it."""

import json
from dataclasses import replace

import pytest

from cluster.apps.app import AppSpec, HealthCheck, Port, Volume, differences
from cluster.credentials import SecretFile
from tests.refusing import refusal

APP = AppSpec(
    "/x", command="true", env={"A": "b"}, ports=(Port("web"),), volumes=(Volume("/a", "/b"),),
    health=HealthCheck("true"), container_options=(("init", "true"),),
    secret_files=(SecretFile("x", "y", b"planted", 1, "FILE"),),
)  # fmt: skip


def test_the_digest_knows_all_but_the_number_of_instances():
    assert replace(APP, instances=5).digest == APP.digest
    assert replace(APP, instances=0, max_instances=40).digest == APP.digest
    assert APP.with_env({"A": "c"}).digest != APP.digest
    assert replace(APP, secret_files=()).digest != APP.digest


def test_what_is_kept_is_the_app_without_its_secrets():
    kept = json.dumps(APP.as_json())
    assert "planted" not in kept
    assert "max_instances" not in kept  # so that what ran before there was such a thing is still the same
    assert AppSpec.from_json(json.loads(kept)) == replace(APP, secret_files=(SecretFile("x", "y", b"", 1, "FILE"),))


@pytest.mark.parametrize(("drain", "grace_s"), [("604800", 604_800), ("", 10), ("soon", 10)])
def test_our_own_stop_waits_as_long_as_the_label_says(drain, grace_s):
    assert APP.with_labels({"drain": drain}).stop_grace_s == grace_s


def test_the_most_instances_are_kept_and_refused_by_engines_that_do_not_choose():
    elastic = replace(APP, secret_files=(), instances=0, max_instances=40)
    assert AppSpec.from_json(json.loads(json.dumps(elastic.as_json()))) == elastic
    assert "--max-instances) is 40" in refusal(elastic.refuse_elastic, "local")
    APP.refuse_elastic("local")


def test_of_long_texts_that_begin_alike_the_part_is_shown_in_which_they_differ():
    command = f"exec cluster_worker -u @/{'shared/' * 20}address -q q "
    (line,) = differences({"command": f"{command}--idle 120 -- mc.r"}, {"command": f"{command}-- mc.r"})
    old, _, new = line.partition(" -> ")
    assert "--idle 120 -- mc.r" in old
    assert "-- mc.r" in new
    assert list(differences({"a": "b"}, {"a": "bc"})) == ['a: "b" -> "bc"']
    far = "x" * 200
    assert next(differences({"a": far}, {"a": "y"})).startswith('a: "xxx')


def test_what_an_app_cannot_hold_is_refused_with_its_place_and_value():
    assert "/x: residency.x is 1" in refusal(replace(APP, unheld={"residency.x": 1}).refuse_unheld, "local")
