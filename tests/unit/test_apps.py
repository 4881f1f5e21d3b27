"""The queue and the workers as apps, for engines of this machine and of a cluster."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cluster import credentials
from cluster.apps.app import AppSpec, Image, Volume
from cluster.apps.component_apps import Work, kept_host, queue_app, worker_app
from cluster.apps.flags import AppOverrides, refuse_taken
from cluster.components import WORKER
from cluster.settings import ROOT, Settings
from scripts.errors import ClusterError
from tests.conftest import defaults
from tests.refusing import refusal

SETTINGS = Settings.read(defaults())
IMAGE = Image("reg:5000/worker@sha256:" + "a" * 64, "worker:v1")
MARATHON = "10.0.0.10:8080,10.0.0.11:8080"
BROKER = ("-u", "amqp://127.0.0.1:5672")


@dataclass(frozen=True)
class Traits:
    """What makes a difference to apps, of an engine that is not there."""

    address: str = ""
    is_here: bool = True
    has_images: bool = True
    limits_resources: bool = True
    makes_data_folders: bool = False
    user: str = ""


HERE = Traits()
CLUSTER = Traits(MARATHON, is_here=False, makes_data_folders=True)


def worker(overrides: AppOverrides = AppOverrides(), engine: Traits = HERE, **flags: Any) -> AppSpec:
    settings = flags.pop("settings", SETTINGS)
    return worker_app(settings, engine, IMAGE, Work.of(settings, **flags), BROKER, overrides)


def queue(engine: Traits = HERE, host: str = "localhost") -> AppSpec:
    return queue_app(SETTINGS, engine, Image("amqp:v1", "amqp:v1"), host)


@pytest.fixture
def written(tmp_path: Path) -> Callable[[Any], AppOverrides]:
    """A definition of a person's own, and flags beside it."""

    def write(content: Any, **flags: Any) -> AppOverrides:
        path = tmp_path / "mine.json"
        path.write_text(json.dumps(content))
        return AppOverrides.of(definition=str(path), **flags)

    return write


def test_a_worker_without_flags_is_as_invoke_yaml_says() -> None:
    app = worker()
    assert (app.id, app.image, app.labels["tag"]) == ("/worker-myqueue", IMAGE.name, "worker:v1")
    assert app.command == "exec cluster_worker -u amqp://127.0.0.1:5672 -q myqueue --tag -j 1 -- myaction.r"
    assert (app.instances, app.cpus, app.mem_mib) == (1, 1.0, 1024)


def test_a_name_with_capitals_is_no_id_and_stays_the_queues_name() -> None:
    app = worker(queue="My_Queue")
    assert (app.id, app.env["QUEUE_NAME"]) == ("/worker-my-queue", "My_Queue")
    assert "-q My_Queue" in app.command


def test_flags_of_the_work_become_options_each_quoted() -> None:
    app = worker(
        queue="My Queue", action="sum.py '/tmp/a b'", jobs=4, timeout_s=1234567.5, attempts=5, keep_alive=True,
        drain_s=30, rest="--prefetch 8",
    )  # fmt: skip
    assert app.command == (
        "exec cluster_worker -u amqp://127.0.0.1:5672 -q 'My Queue' --tag -j 4 --timeout 1234567.5 --attempts 5 "
        "--drain 30 --keep-alive --prefetch 8 -- sum.py '/tmp/a b'"
    )
    assert (app.id, app.env["QUEUE_NAME"]) == ("/worker-my-queue", "My Queue")
    assert (app.kill_grace_s, app.stop_grace_s) == (30 + 30, 30 + 30)


def test_what_a_shell_would_run_reaches_the_action_as_it_is() -> None:
    nasty = """a'b"c $(touch /tmp/no) `x` {{IMAGE}}"""
    words = shlex.split(worker(action=shlex.join(["myaction.r", nasty]), queue=nasty).command)
    assert words[-2:] == ["myaction.r", nasty]
    assert words[words.index("-q") + 1] == nasty


def test_actions_may_take_long_when_we_stop_a_worker_and_not_when_something_else_does() -> None:
    assert (worker().kill_grace_s, worker().stop_grace_s) == (80, 7 * 24 * 3600)


def test_the_machines_folder_is_the_workers_tmp_here_alone() -> None:
    settings = replace(SETTINGS, worker=replace(SETTINGS.worker, tmp="/scratch"))
    assert worker(settings=settings).volumes == (Volume("/scratch", "/tmp"),)
    assert worker(settings=settings, engine=CLUSTER).volumes == (Volume("/tmp", "/tmp"),)


def test_a_container_runs_as_the_person() -> None:
    assert ("user", "1000:1000") in worker(engine=Traits(user="1000:1000")).container_options


def test_another_person_s_workers_are_another_app() -> None:
    ann, bob = (worker(engine=Traits(user=user)) for user in ("1000:1000", "1001:1000"))
    assert ann.digest != bob.digest


def test_a_definition_of_one_s_own_is_run_as_the_person_unless_it_names_another(written: Any) -> None:
    definition = json.loads(WORKER.definition.read_text())
    as_ann = written(definition)
    assert ("user", "7:7") in worker(as_ann, Traits(user="7:7")).container_options
    definition["container"]["docker"]["parameters"].append({"key": "user", "value": "8:8"})
    options = worker(written(definition), Traits(user="7:7")).container_options
    assert [value for key, value in options if key == "user"] == ["8:8"]


def test_flags_change_the_app() -> None:
    overrides = AppOverrides.of(
        app="group/mine", instances=20, cpus=0.5, mem_mib=512, env=["A=1", "B=x=y"],
        volumes=["/data:/in:ro", "/out:/out"], constraints=["hostname:UNIQUE", "rack:LIKE:a|b"],
        engine_options=["shm-size=1g", "x.y_z=a=b"],
    )  # fmt: skip
    app = worker(overrides)
    assert (app.id, app.instances, app.cpus, app.mem_mib) == ("/group/mine", 20, 0.5, 512)
    assert app.env == {"QUEUE_NAME": "myqueue", "A": "1", "B": "x=y"}
    assert app.volumes[1:] == (Volume("/data", "/in", read_only=True), Volume("/out", "/out"))
    assert app.native["constraints"] == [["hostname", "UNIQUE"], ["rack", "LIKE", "a|b"]]
    assert app.engine_options == (("shm-size", "1g"), ("x.y_z", "a=b"))
    assert "--constraint hostname:UNIQUE" in refusal(app.refuse_unheld, "local")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"env": ["A"]}, "--env 'A'"),
        ({"env": ["1A=b"]}, "--env '1A=b'"),
        ({"env": ["A=1", "AMQP_USER=x"]}, "--env AMQP_USER: "),
        ({"env": ["AMQP_PASSWORD_FILE=/x"]}, "--env AMQP_PASSWORD_FILE: "),
        ({"env": ["DCOS_ACS_TOKEN=x"]}, "--env DCOS_ACS_TOKEN: "),
        ({"env": ["CLUSTER_ANYTHING="]}, "--env CLUSTER_ANYTHING: "),
        ({"env": ["QUEUE_NAME=x"]}, "--env QUEUE_NAME: "),
        ({"env": ["A=1", "A=1"]}, "--env A: "),
        ({"volumes": ["/data"]}, "--volume '/data'"),
        ({"volumes": ["data:/in"]}, "--volume 'data:/in'"),
        ({"volumes": ["/data:/in:rx"]}, "--volume '/data:/in:rx'"),
        ({"volumes": ["/a:/b:ro:x"]}, "--volume '/a:/b:ro:x'"),
        ({"volumes": ["/a:/in", "/b:/in:ro"]}, "--volume '/b:/in:ro': /in "),
        ({"constraints": ["hostname"]}, "--constraint 'hostname'"),
        ({"constraints": ["hostname:"]}, "--constraint 'hostname:'"),
        ({"env": ["A-B=1"]}, "--env 'A-B=1'"),
        ({"engine_options": ["partition"]}, "--engine-option 'partition'"),
        ({"engine_options": ["--init=true"]}, "--engine-option '--init=true'"),
    ],
    ids=str,
)
def test_a_flag_that_makes_no_sense_is_named(changes: dict[str, Any], words: str) -> None:
    assert words in refusal(AppOverrides.of, **changes)


def test_a_reserved_name_is_told_without_its_value() -> None:
    assert "s3cret" not in refusal(AppOverrides.of, env=["AMQP_PASSWORD=s3cret"])


def test_a_variable_that_the_deploy_passes_on_is_no_flag_s() -> None:
    assert "--env MARATHON_USER: " in refusal(refuse_taken, {"A": "1", "MARATHON_USER": "x"}, {"MARATHON_USER": "y"})
    refuse_taken({"A": "1"}, {"MARATHON_USER": "y"})


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"rest": "--prefetch '8"}, "--options"),
        ({"rest": "--nosuch 8"}, "--options: .*--nosuch"),
        ({"rest": "--backoff soon"}, "--options: .*'soon'"),
        ({"rest": "nosuch"}, "--options: 'nosuch'"),
        ({"rest": "-q other"}, "--options: .*-q: "),
        ({"rest": "-u amqp://other"}, "--options: .*-u: "),
        ({"rest": "--attempts 5", "attempts": 4}, "--options: .*--attempts: "),
        ({"rest": "-j 5", "jobs": 4}, "--options: .*-j: "),
        ({"queue": "amq.x"}, "'amq.x'"),
        ({"queue": "___"}, "queue '___': "),
        ({"action": " "}, "--action"),
        ({"action": "sum.py 'a"}, "--action"),
    ],
)
def test_work_that_cannot_be_is_named(flags: dict[str, Any], words: str) -> None:
    with pytest.raises(ClusterError, match=words):
        worker(**flags)


@pytest.mark.parametrize("rest", ["-j 5", "-j5"])
def test_jobs_among_the_options_are_taken(rest: str) -> None:
    assert Work.of(SETTINGS, rest=rest).options == ("--tag", *rest.split())


def test_an_id_that_is_none_is_named() -> None:
    assert "'My_App'" in refusal(worker, AppOverrides(app_id="My_App"))


def test_the_password_file_is_given_to_the_user_of_the_workers_image() -> None:
    dockerfile = (ROOT / "components" / "worker" / "Dockerfile").read_text()
    assert f"useradd --uid {credentials.WORKER_UID} " in dockerfile


class TestOwnDefinition:
    def test_is_filled_and_keeps_what_no_flag_changes(self, written: Callable[..., AppOverrides]) -> None:
        own = {
            "id": "/mine", "cmd": "cluster_worker -m {{HOST_PORT}} -a amqp -q {{QUEUE}} /usr/local/bin/myaction.r",
            "cpus": 3, "container": {"docker": {"image": "{{IMAGE}}"}},
        }  # fmt: skip
        app = worker(written(own, instances=5), CLUSTER, queue="my queue")
        assert app.command == f"cluster_worker -m {MARATHON} -a amqp -q 'my queue' /usr/local/bin/myaction.r"
        assert (app.id, app.cpus, app.instances) == ("/mine", 3, 5)
        assert "mem" not in app.native

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ({"id": "/x", "cmd": "{{QUEUE_HOST}}"}, r"mine\.json: cmd: \{\{QUEUE_HOST\}\} "),
            ({"id": "/x", "cmd": "{{HOST_PORT}}"}, r"mine\.json: cmd: \{\{HOST_PORT\}\} "),
            ({"cmd": "sleep 1"}, r"mine\.json: id "),
            ({"id": "/X"}, "'/X'"),
            ({"id": "/x", "cmd": "sleep 1"}, r"mine\.json: container\.docker\.image "),
            ({"id": "/x", "container": []}, r"mine\.json: container is \[\]"),
            ({"id": "/x", "container": {"docker": "x"}}, r"mine\.json: container\.docker is 'x'"),
            ({"id": "/x", "env": ["A=1"]}, r"mine\.json: env is \['A=1'\]"),
            ({"id": "/x", "constraints": {}}, r"mine\.json: constraints is \{\}"),
        ],
        ids=str,
    )
    def test_that_cannot_be_used_is_named_with_the_place(
        self, written: Callable[..., AppOverrides], content: Any, words: str
    ) -> None:
        with pytest.raises(ClusterError, match=words):
            worker(written(content))

    def test_needs_no_image_where_there_are_none(self, written: Callable[..., AppOverrides]) -> None:
        assert worker(written({"id": "/x", "cmd": "sleep 1"}), Traits(has_images=False)).image == ""

    def test_without_a_place_for_the_broker_takes_no_other(self, written: Callable[..., AppOverrides]) -> None:
        own = {"id": "/x", "cmd": "cluster_worker -m {{HOST_PORT}}", "container": {"docker": {"image": "{{IMAGE}}"}}}
        assert "{{BROKER}}" in refusal(worker, written(own), CLUSTER, url="amqp://me:s3cret@b:1")

    def test_that_is_not_there_is_named(self) -> None:
        assert "/nowhere/x.json: " in refusal(worker, AppOverrides(definition="/nowhere/x.json"))


class TestQueueHere:
    def test_is_on_the_ports_of_the_settings(self) -> None:
        assert {port.name: port.host for port in queue().ports} == {
            "amqp": 5672, "management": 15672, "prometheus": 15692,
        }  # fmt: skip
        assert queue().mem_mib == 2048

    def test_lets_guest_in_only_by_what_is_given_at_run_time(self) -> None:
        folder = ROOT / "components" / "queue"
        assert all("loopback_users" not in path.read_text() for path in folder.iterdir())
        assert queue().env["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"] == "-rabbit loopback_users []"


class TestQueueOfACluster:
    def test_is_kept_to_its_host_and_ends_before_it_starts_again(self) -> None:
        app = queue(CLUSTER, "agent1")
        assert app.pinned_to == "agent1"
        assert app.native["upgradeStrategy"] == {"minimumHealthCapacity": 0, "maximumOverCapacity": 0}
        assert {port.host for port in app.ports} == {0}

    def test_owns_the_folder_of_its_data_and_runs_as_a_plain_user(self) -> None:
        app = queue(CLUSTER, "agent1")
        assert ("user", "root") in app.container_options
        assert "chown rabbitmq:rabbitmq /var/lib/rabbitmq && exec " in app.command
        assert app.command.endswith(
            "setpriv --reuid=rabbitmq --regid=rabbitmq --init-groups /usr/lib/rabbitmq/bin/rabbitmq-server"
        )

    def test_lets_nobody_in_from_the_network_by_itself(self) -> None:
        assert "loopback_users" not in str(queue(CLUSTER, "agent1"))


THERE = AppSpec("/amqp", pinned_to="agent1")


class TestKeptHost:
    @pytest.mark.parametrize(
        ("on", "present", "hosts", "host"),
        [
            ("agent2", None, ["agent1", "agent2"], "agent2"),
            ("", THERE, ["agent1", "agent2"], "agent1"),
            ("agent1", THERE, [], "agent1"),
            ("", None, ["agent7"], "agent7"),
            ("", AppSpec("/amqp"), ["agent7"], "agent7"),
        ],
    )
    def test_is_the_named_one_else_where_the_data_is_else_the_only_one(
        self, on: str, present: AppSpec | None, hosts: list[str], host: str
    ) -> None:
        assert kept_host(on, present, hosts, False) == host

    @pytest.mark.parametrize("hosts", [[], ["agent1", "agent2"]])
    def test_has_to_be_named_where_there_are_several(self, hosts: list[str]) -> None:
        assert "--on " in refusal(kept_host, "", None, hosts, False)

    def test_away_from_the_data_is_refused_unless_that_is_said(self) -> None:
        found = refusal(kept_host, "agent2", THERE, [], False)
        assert [name for name in ("agent1", "/var/lib/cluster/amqp", "--move-without") if name not in found] == []
        assert kept_host("agent2", THERE, [], True) == "agent2"
