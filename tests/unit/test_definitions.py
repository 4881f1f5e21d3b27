"""App definitions: reading them, and filling their placeholders without breaking JSON or shell; app ids."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.apps.app import AppSpec, HealthCheck, Port, Volume
from cluster.apps.definitions import PLACEHOLDERS, fill, load, read, refuse_other_queue, worker_id
from scripts.app_id import canonical_app_id
from scripts.errors import ClusterError
from tests.refusing import refusal

# What an argument of a program can be: any text without NUL (and without lone surrogates, which are no UTF-8).
WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
NASTY = ["", "it's", '"', "$(touch /tmp/owned)", "`id`", "a\nb", "{{QUEUE}}", "-n", "\\", "*", "~", "#x", "a b", "é €"]

# The pattern that Marathon itself checks ids with (its REST API's PathId type).
MARATHON = re.compile(
    r"^(\/?((\.\.)|(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9]))?($|\/))+$"
)


def printed(cmd: str) -> list[str]:
    """The words that a real shell hands to a program for `printf '%s\\0' ...`."""
    run = subprocess.run(["/bin/sh", "-c", cmd], capture_output=True, check=True, timeout=10)
    return run.stdout.decode().split("\0")[:-1]


def filled_cmd(cmd: str, **values: object) -> str:
    return fill({"cmd": cmd}, values)["cmd"]


@pytest.mark.parametrize("value", NASTY)
def test_a_value_in_cmd_reaches_the_program_as_it_is(value):
    assert printed(filled_cmd(r"printf '%s\0' {{QUEUE}} end", QUEUE=value)) == [value, "end"]


@settings(max_examples=150, deadline=None)
@given(value=WORDS)
def test_any_value_in_cmd_reaches_the_program_as_it_is(value):
    assert printed(filled_cmd(r"printf '%s\0' {{QUEUE}} end", QUEUE=value)) == [value, "end"]


@settings(max_examples=100, deadline=None)
@given(words=st.lists(WORDS, max_size=4))
def test_a_list_in_cmd_becomes_its_words(words):
    assert printed(filled_cmd(r"printf '%s\0' {{ACTION}} end", ACTION=words)) == [*words, "end"]


@settings(max_examples=50, deadline=None)
@given(value=WORDS)
def test_values_after_quotes_of_the_definition_and_inside_a_word(value):
    cmd = r"""printf '%s\0' "a\"b" 'c"d' e\'f `echo '"'` --queue={{QUEUE}}"""
    assert printed(filled_cmd(cmd, QUEUE=value)) == ['a"b', 'c"d', "e'f", '"', f"--queue={value}"]


@settings(max_examples=100, deadline=None)
@given(value=WORDS)
def test_the_filled_definition_is_still_the_same_json(value):
    definition = {"id": "/x", "env": {"QUEUE_NAME": "{{QUEUE}}"}, "args": ["{{QUEUE}}", "<{{TAG}}>"], "cpus": 0.5}
    filled = fill(definition, {"QUEUE": value, "TAG": "v1"})
    assert json.loads(json.dumps(filled)) == filled
    assert filled == {"id": "/x", "env": {"QUEUE_NAME": value}, "args": [value, "<v1>"], "cpus": 0.5}


@pytest.mark.parametrize(
    "cmd",
    [
        "echo '{{QUEUE}}'",
        'echo "{{QUEUE}}"',
        'echo "$(echo {{QUEUE}})"',
        "echo `echo {{QUEUE}}`",
        "true # {{QUEUE}}",
        "# {{QUEUE}}",
        "true;#{{QUEUE}}",
        "cat <<EOF\n{{QUEUE}}\nEOF",
        "echo $((1 + {{QUEUE}}))",
        "echo \\{{QUEUE}}",
    ],
)
def test_where_quoting_cannot_work_a_placeholder_is_refused(cmd):
    assert "worker.json: cmd: {{QUEUE}} " in refusal(fill, {"cmd": cmd}, {"QUEUE": "$(reboot)"}, "worker.json")


@pytest.mark.parametrize("cmd", ["echo a#b {{QUEUE}}", "sort < /dev/null; echo {{QUEUE}}", 'echo "$X" ${Y} {{QUEUE}}'])
def test_where_quoting_works_it_is_filled(cmd):
    assert filled_cmd(cmd, QUEUE="a b").endswith("'a b'")


def test_the_command_of_a_health_check_is_quoted_too():
    check = {"protocol": "COMMAND", "command": {"value": "test -e {{QUEUE}}"}}
    assert fill({"healthChecks": [check]}, {"QUEUE": "a b"})["healthChecks"][0]["command"]["value"] == "test -e 'a b'"


def test_values_are_never_filled_again():
    assert fill({"env": {"A": "{{QUEUE}} {{TAG}}"}}, {"QUEUE": "{{TAG}}", "TAG": "v1"}) == {"env": {"A": "{{TAG}} v1"}}


def test_keys_and_what_is_no_string_stay():
    definition = {"{{QUEUE}}": 1, "instances": 2, "privileged": False, "secrets": None}
    assert fill(definition, {"QUEUE": "x"}) == definition


def test_the_definition_given_is_not_changed():
    definition = {"env": {"A": "{{QUEUE}}"}}
    fill(definition, {"QUEUE": "x"})
    assert definition == {"env": {"A": "{{QUEUE}}"}}


def test_text_that_only_resembles_a_placeholder_stays():
    assert fill({"cmd": "docker ps --format {{.Names}} ${X} {QUEUE}"}, {}) == {
        "cmd": "docker ps --format {{.Names}} ${X} {QUEUE}"
    }


@pytest.mark.parametrize("bad", ["{{QEUE}}", "{{queue}}", "{{ QUEUE }}"])
def test_an_unknown_placeholder_is_named_with_its_place(bad):
    values = dict.fromkeys(PLACEHOLDERS, "x")
    found = refusal(fill, {"container": {"docker": {"image": bad}}}, values, "app.json")
    assert found.startswith(f"app.json: container.docker.image: {bad} ")


def test_a_placeholder_without_a_value_is_named_with_its_place():
    found = refusal(fill, {"args": ["-m", "{{HOST_PORT}}"]}, {"QUEUE": "x"}, Path("app.json"))
    assert found.startswith("app.json: args[1]: {{HOST_PORT}} ")


def test_a_nul_byte_is_refused():
    assert "NUL" in refusal(fill, {"cmd": "echo {{ACTION}}"}, {"ACTION": ["a", "b\0c"]})


def test_load_reads_an_object(tmp_path):
    (tmp_path / "app.json").write_text('{"id": "/x"}')
    assert load(tmp_path / "app.json") == {"id": "/x"}


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b'{\n  "id": "/x",\n}', "app.json, line 3, column 1: "),
        (b"[]", "app.json: "),
        (b'{"id": "\xff"}', "byte 8"),
        (None, "app.json: "),
    ],
)
def test_load_refuses(tmp_path, content, error):
    if content is not None:
        (tmp_path / "app.json").write_bytes(content)
    assert error in refusal(load, tmp_path / "app.json")


@pytest.mark.parametrize(
    ("queue", "slug"),
    [
        ("myqueue", "/worker-myqueue"),
        ("My_Queue", "/worker-my-queue"),
        ("a..b__c", "/worker-a-b-c"),
        ("-q-", "/worker-q"),
    ],
)
def test_the_slug_of_a_queue(queue, slug):
    assert worker_id(queue) == slug


@given(queue=st.text(min_size=1))
def test_every_slug_is_an_id_for_us_and_for_marathon(queue):
    try:
        slug = worker_id(queue)
    except ClusterError:
        assert not re.search("[a-z0-9]", queue.lower())
    else:
        assert canonical_app_id(slug) == slug
        assert MARATHON.match(slug)


def test_a_name_without_letters_needs_an_id():
    assert "'☃'" in refusal(worker_id, "☃")


def runs_for(app_id: str, queue: str) -> AppSpec:
    return AppSpec(app_id, env={"QUEUE_NAME": queue} if queue else {})


@pytest.mark.parametrize(("app_id", "there", "wanted"), [("/worker-a-b", "a_b", "a-b"), ("/amqp", "", "q")])
def test_two_queues_with_one_slug_are_refused(app_id, there, wanted):
    found = refusal(refuse_other_queue, runs_for(app_id, there), runs_for(app_id, wanted))
    assert found.startswith(f"{app_id} ")
    assert repr(wanted) in found
    assert there in found


def test_the_same_queue_is_fine():
    refuse_other_queue(runs_for("/w", "q"), runs_for("/w", "q"))
    refuse_other_queue(runs_for("/amqp", ""), runs_for("/amqp", ""))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' * 100_000, f'{{"mem": {"9" * 5000}}}'], ids=["[", "{", "9"])
def test_what_python_cannot_read_is_one_line(tmp_path, text):
    (tmp_path / "app.json").write_text(text)
    assert "app.json: " in refusal(load, tmp_path / "app.json")


def test_a_definition_is_read_into_the_neutral_app():
    definition = {
        "id": "/x", "cmd": "true", "env": {"A": "b"}, "labels": {"team": "y"}, "cpus": 0.5, "mem": 64, "instances": 2,
        "taskKillGracePeriodSeconds": 60, "networks": [{"mode": "container/bridge"}],
        "constraints": [["hostname", "CLUSTER", "here"], ["rack", "UNIQUE"]],
        "container": {
            "type": "DOCKER",
            "docker": {"image": "x:1", "parameters": [{"key": "init", "value": "true"}], "forcePullImage": True},
            "portMappings": [{"containerPort": 80, "hostPort": 8080, "name": "web", "servicePort": 1}],
            "volumes": [{"containerPath": "/b", "hostPath": "/a", "mode": "RO"}],
        },
        "healthChecks": [{"protocol": "COMMAND", "command": {"value": "true"}, "intervalSeconds": 5}],
        "backoffSeconds": 5, "gpus": 0, "secrets": {}, "tasksRunning": 1,
    }  # fmt: skip
    app = read(definition)
    assert app == AppSpec(
        "/x", command="true", image="x:1", env={"A": "b"}, ports=(Port("web", 80, 8080),), on_host_network=False,
        volumes=(Volume("/a", "/b", read_only=True),), health=HealthCheck("true", interval_s=5), cpus=0.5, mem_mib=64,
        instances=2, kill_grace_s=60, pinned_to="here", labels={"team": "y"}, container_options=(("init", "true"),),
    )  # fmt: skip
    assert app.unheld == {}


def container(**keys):
    return {"container": {"docker": {"image": "x"}, **keys}}


CHECK = {"protocol": "COMMAND", "command": {"value": "true"}}


@pytest.mark.parametrize(
    ("definition", "place"),
    [
        ({"instancs": 2}, "instancs"),
        ({"instances": 2.5}, "instances"),
        ({"instances": "2"}, "instances"),
        ({"cpus": "1"}, "cpus"),
        ({"mem": True}, "mem"),
        ({"args": ["x"]}, "args[0]"),
        ({"residency": {"x": 1}}, "residency.x"),
        ({"env": {"A": 0}}, "env.A"),
        ({"env": {"A": {"secret": "x"}}}, "env.A.secret"),
        ({"networks": [{"mode": "container", "name": "x"}]}, "networks[0]"),
        ({"healthChecks": [{"protocol": "HTTP"}]}, "healthChecks[0]"),
        ({"healthChecks": [CHECK | {"intervalSeconds": "5"}]}, "healthChecks[0]"),
        ({"healthChecks": [CHECK, CHECK]}, "healthChecks[1]"),
        (container(type="MESOS"), "container.type"),
        (container(docker={"image": "x", "privileged": True}), "container.docker.privileged"),
        (container(docker={"image": "x", "parameters": [{"key": "init"}]}), "container.docker.parameters[0]"),
        (container(volumes=[{"containerPath": "/x"}]), "container.volumes[0]"),
        (container(volumes=[{"containerPath": "/x", "hostPath": "/x", "mode": "ro"}]), "container.volumes[0]"),
        (container(portMappings=[{"containerPort": 1, "networkNames": ["x"]}]), "container.portMappings[0]"),
    ],
)
def test_what_an_app_cannot_hold_is_kept_by_its_place(definition, place):
    assert list(read(definition).unheld) == [place]
    assert read(definition).native == definition


@pytest.mark.parametrize("empty", [None, "", [], {}, 0])
def test_a_key_that_says_nothing_is_nothing(empty):
    assert read({"residency": empty, "cmd": None, "cpus": None, "healthChecks": None}).unheld == {}
