"""The definitions as they go to a Marathon."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster.apps import cluster_apps
from cluster.apps import flags as app_flags
from cluster.apps import one_machine as apps
from cluster.apps.cluster_apps import Image
from cluster.apps.flags import Wish
from scripts.errors import ClusterError
from tests.conftest import SETTINGS

IMAGE = Image("reg:5000/worker@sha256:" + "a" * 64, "worker:v1")
MARATHON = "10.0.0.10:8080,10.0.0.11:8080"


def work(**changes: Any) -> apps.Work:
    flags: dict[str, Any] = {
        "queue": "", "action": "", "url": "", "instances": 0, "jobs": -1, "timeout_s": 0.0, "attempts": 0,
        "keep_alive": False, "drain_s": -1, "rest": "",
    }  # fmt: skip
    return apps.worker_wish(SETTINGS, **(flags | changes))


def flags(**changes: Any) -> Wish:
    none: dict[str, Any] = {
        "app": "", "definition": "", "instances": 0, "cpus": 0.0, "mem_mib": 0, "env": (), "volumes": (),
        "constraints": (), "url": "",
    }  # fmt: skip
    return app_flags.wish(**(none | changes))


def worker(wish: Wish = Wish(), image: Image = IMAGE, **changes: Any) -> dict[str, Any]:  # noqa: B008
    return cluster_apps.worker_app(work(**changes), image, MARATHON, wish).definition


@pytest.fixture
def written(tmp_path: Path) -> Callable[[Any], str]:
    """A definition of a person's own."""

    def write(content: Any) -> str:
        path = tmp_path / "mine.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    return write


def test_workers_find_the_queue_through_marathon() -> None:
    definition = worker()
    assert definition["cmd"].startswith(f"exec cluster_worker -m {MARATHON} -a /amqp -q myqueue ")
    assert definition["container"]["docker"]["image"] == IMAGE.name
    assert (definition["id"], definition["labels"]["tag"]) == ("/worker-myqueue", "worker:v1")
    assert "fetch" not in definition


def test_workers_of_another_broker_get_its_url_without_the_password() -> None:
    definition = worker(flags(url="amqps://me:s3cret@broker.example:5671/shop"))
    assert definition["cmd"].startswith("exec cluster_worker -u amqps://broker.example:5671/shop -q myqueue ")
    assert "s3cret" not in json.dumps(definition)


def test_a_name_with_capitals_and_underscores_is_no_id_and_stays_the_queues_name() -> None:
    definition = worker(queue="My_Queue")
    assert (definition["id"], definition["env"]["QUEUE_NAME"]) == ("/worker-my-queue", "My_Queue")
    assert "-q My_Queue" in definition["cmd"]


def test_what_a_shell_would_run_reaches_the_action_as_it_is() -> None:
    nasty = """a'b"c $(touch /tmp/no) `x` {{IMAGE}}"""
    definition = worker(action=shlex.join(["myaction.r", nasty]), queue=nasty)
    words = shlex.split(definition["cmd"])
    assert words[-2:] == ["myaction.r", nasty]
    assert words[words.index("-q") + 1] == nasty


def test_flags_go_into_the_definition() -> None:
    wish = flags(
        app="group/mine", instances=20, cpus=0.5, mem_mib=512, env=["A=1", "B=x=y"],
        volumes=["/data:/in:ro", "/out:/out"], constraints=["hostname:UNIQUE", "rack:LIKE:a|b"],
    )  # fmt: skip
    definition = worker(wish, drain_s=30)
    assert [definition[key] for key in ("id", "instances", "cpus", "mem")] == ["/group/mine", 20, 0.5, 512]
    assert definition["taskKillGracePeriodSeconds"] == 60
    assert definition["env"] == {"QUEUE_NAME": "myqueue", "A": "1", "B": "x=y"}
    assert definition["container"]["volumes"][1:] == [
        {"containerPath": "/in", "hostPath": "/data", "mode": "RO"},
        {"containerPath": "/out", "hostPath": "/out", "mode": "RW"},
    ]
    assert definition["constraints"] == [["hostname", "UNIQUE"], ["rack", "LIKE", "a|b"]]


def test_a_registry_with_a_login_has_its_login_fetched() -> None:
    definition = worker(image=Image(IMAGE.name, "worker:v1", has_login=True))
    assert definition["fetch"] == [{"uri": "file:///etc/cluster/docker.tar.gz"}]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"env": ["A"]}, "--env 'A'"),
        ({"env": ["1A=b"]}, "--env '1A=b'"),
        ({"env": ["A=1", "AMQP_USER=x"]}, "--env AMQP_USER: workers get the queue's login from the deploy"),
        ({"env": ["AMQP_PASSWORD_FILE=/x"]}, "--env AMQP_PASSWORD_FILE: "),
        ({"env": ["DCOS_ACS_TOKEN=x"]}, "--env DCOS_ACS_TOKEN: everyone who can ask Marathon could read it"),
        ({"env": ["CLUSTER_ANYTHING="]}, "--env CLUSTER_ANYTHING: this name is the workers' own: choose another"),
        ({"env": ["QUEUE_NAME=x"]}, "--env QUEUE_NAME: "),
        ({"volumes": ["/data"]}, "--volume '/data'"),
        ({"volumes": ["data:/in"]}, "--volume 'data:/in'"),
        ({"volumes": ["/data:/in:rx"]}, "--volume '/data:/in:rx'"),
        ({"volumes": ["/a:/b:ro:x"]}, "--volume '/a:/b:ro:x'"),
        ({"constraints": ["hostname"]}, "--constraint 'hostname'"),
        ({"constraints": ["hostname:"]}, "--constraint 'hostname:'"),
        ({"env": ["A=1", "A=1"]}, "--env A: it is given twice"),
        ({"volumes": ["/a:/in", "/b:/in:ro"]}, "--volume '/b:/in:ro': /in in the container is given twice"),
    ],
    ids=str,
)
def test_a_flag_that_makes_no_sense_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ClusterError, match=words):
        flags(**changes)


def test_a_reserved_name_is_told_without_its_value() -> None:
    with pytest.raises(ClusterError) as caught:
        flags(env=["AMQP_PASSWORD=s3cret"])
    assert "--env AMQP_PASSWORD: " in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_variable_that_the_deploy_passes_on_is_no_flag_s() -> None:
    with pytest.raises(ClusterError, match=r"^--env MARATHON_USER: the deploy passes on this machine's MARATHON_USER"):
        app_flags.refuse_taken({"A": "1", "MARATHON_USER": "x"}, {"MARATHON_USER": "y"})
    app_flags.refuse_taken({"A": "1"}, {"MARATHON_USER": "y"})


def test_an_id_that_marathon_would_refuse_is_named() -> None:
    with pytest.raises(ClusterError, match="'My_App' is not an app id"):
        worker(flags(app="My_App"))
    with pytest.raises(ClusterError, match="queue '___': no app id can be made"):
        worker(queue="___")


def test_a_new_image_leaves_as_many_workers_as_there_are() -> None:
    assert cluster_apps.as_many_as_now(flags(), {"instances": 40}).numbers == {"instances": 40}
    assert cluster_apps.as_many_as_now(flags(instances=2), {"instances": 40}).numbers == {"instances": 2}
    assert cluster_apps.as_many_as_now(flags(), None).numbers == {}
    assert cluster_apps.as_many_as_now(flags(definition="mine.json"), {"instances": 40}).numbers == {}


class TestOwnDefinition:
    def test_is_filled_and_keeps_what_no_flag_changes(self, written: Callable[[Any], str]) -> None:
        own = {
            "id": "/mine", "cmd": "cluster_worker -m {{HOST_PORT}} -a amqp -q {{QUEUE}} /usr/local/bin/myaction.r",
            "cpus": 3, "container": {"docker": {"image": "{{IMAGE}}"}},
        }  # fmt: skip
        definition = worker(flags(definition=written(own), instances=5), queue="my queue")
        assert definition["cmd"] == f"cluster_worker -m {MARATHON} -a amqp -q 'my queue' /usr/local/bin/myaction.r"
        assert [definition[key] for key in ("id", "cpus", "instances")] == ["/mine", 3, 5]
        assert "mem" not in definition

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ('{"id": "/x",\n "cmd": }', r"mine\.json, line 2, column 9: not JSON"),
            ({"id": "/x", "cmd": "{{QUEU}}"}, r"mine\.json: cmd: \{\{QUEU\}\} is not a placeholder; those are"),
            ({"id": "/x", "cmd": "{{QUEUE_HOST}}"}, r"mine\.json: cmd: \{\{QUEUE_HOST\}\} has no value here"),
            ({"cmd": "sleep 1"}, r"mine\.json: id is missing"),
            ({"id": "/X"}, "'/X' is not an app id"),
            ([], r"mine\.json: an app definition is a JSON object"),
            ({"id": "/x", "cmd": "sleep 1"}, r"mine\.json: container\.docker\.image is missing: write"),
            ({"id": "/x", "container": []}, r"mine\.json: container is \[\]: an object is needed"),
            ({"id": "/x", "container": {"docker": "x"}}, r"mine\.json: container\.docker is 'x': an object"),
            ({"id": "/x", "env": ["A=1"]}, r"mine\.json: env is \['A=1'\]: an object is needed"),
            ({"id": "/x", "constraints": {}}, r"mine\.json: constraints is \{\}: a list is needed"),
        ],
        ids=str,
    )
    def test_that_cannot_be_used_is_named_with_the_place(
        self, written: Callable[[Any], str], content: Any, words: str
    ) -> None:
        with pytest.raises(ClusterError, match=words):
            worker(flags(definition=written(content)))

    def test_without_a_place_for_the_broker_takes_no_other(self, written: Callable[[Any], str]) -> None:
        own = {"id": "/x", "cmd": "cluster_worker -m {{HOST_PORT}}", "container": {"docker": {"image": "{{IMAGE}}"}}}
        with pytest.raises(ClusterError, match=r"^-u amqp://b:1: \S+mine\.json has no \{\{BROKER\}\} in it"):
            worker(flags(definition=written(own), url="amqp://me:s3cret@b:1"))

    def test_that_is_not_there_is_named(self) -> None:
        with pytest.raises(ClusterError, match=r"^/nowhere/x\.json: No such file"):
            worker(flags(definition="/nowhere/x.json"))


class TestQueue:
    def app(self) -> dict[str, Any]:
        return cluster_apps.queue_app(
            SETTINGS, Image("reg:5000/amqp@sha256:x", "amqp:v1"), "agent1", MARATHON, Wish()
        ).definition

    def test_is_kept_to_its_agent_and_ends_before_it_starts_again(self) -> None:
        definition = self.app()
        assert definition["constraints"] == [["hostname", "CLUSTER", "agent1"]]
        assert definition["upgradeStrategy"] == {"minimumHealthCapacity": 0, "maximumOverCapacity": 0}
        assert {mapping["hostPort"] for mapping in definition["container"]["portMappings"]} == {0}

    def test_owns_the_folder_of_its_data_and_runs_as_a_plain_user(self) -> None:
        definition = self.app()
        assert {"key": "user", "value": "root"} in definition["container"]["docker"]["parameters"]
        assert "chown rabbitmq:rabbitmq /var/lib/rabbitmq && exec " in definition["cmd"]
        assert definition["cmd"].endswith(
            "setpriv --reuid=rabbitmq --regid=rabbitmq --init-groups /usr/lib/rabbitmq/bin/rabbitmq-server"
        )

    def test_lets_nobody_in_from_the_network_by_itself(self) -> None:
        assert "loopback_users" not in str(self.app())


THERE = {"constraints": [["rack", "LIKE", "a"], ["hostname", "CLUSTER", "agent1"]]}


class TestKeptHost:
    @pytest.mark.parametrize(
        ("on", "present", "agents", "host"),
        [
            ("agent2", None, ["agent1", "agent2"], "agent2"),
            ("", THERE, ["agent1", "agent2"], "agent1"),
            ("agent1", THERE, [], "agent1"),
            ("", None, ["agent7"], "agent7"),
            ("", {"constraints": []}, ["agent7"], "agent7"),
        ],
    )
    def test_is_the_named_one_else_where_the_data_is_else_the_only_one(
        self, on: str, present: Any, agents: list[str], host: str
    ) -> None:
        assert cluster_apps.kept_host(on, present, agents, False) == host

    @pytest.mark.parametrize("agents", [[], ["agent1", "agent2"]])
    def test_has_to_be_named_where_there_are_several(self, agents: list[str]) -> None:
        with pytest.raises(ClusterError, match="--on is missing"):
            cluster_apps.kept_host("", None, agents, False)

    def test_away_from_the_data_is_refused_unless_that_is_said(self) -> None:
        with pytest.raises(ClusterError, match=r"the queue is kept on agent1;.*/var/lib/cluster/amqp.*move-without"):
            cluster_apps.kept_host("agent2", THERE, [], False)
        assert cluster_apps.kept_host("agent2", THERE, [], True) == "agent2"
