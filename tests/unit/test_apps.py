"""The definitions as they go to a scheduler of this machine."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster import credentials
from cluster.apps import one_machine as apps
from cluster.schedulers.instances import grace_s
from cluster.settings import ROOT
from scripts.errors import ClusterError
from tests.conftest import SETTINGS


def wish(**changes: Any) -> apps.Work:
    flags: dict[str, Any] = {
        "queue": "", "action": "", "url": "", "instances": 0, "jobs": -1, "timeout_s": 0.0, "attempts": 0,
        "keep_alive": False, "drain_s": -1, "rest": "",
    }  # fmt: skip
    return apps.worker_wish(SETTINGS, **(flags | changes))


def test_the_queue_is_on_the_ports_of_the_settings() -> None:
    definition = apps.queue_app(SETTINGS, "amqp:v1", "v1").definition
    ports = {mapping["name"]: mapping["hostPort"] for mapping in definition["container"]["portMappings"]}
    assert ports == {"amqp": 5672, "management": 15672, "prometheus": 15692}
    assert definition["mem"] == 2048


def test_guest_may_come_from_the_network_only_by_what_is_given_at_run_time() -> None:
    folder = ROOT / "components" / "queue"
    assert all("loopback_users" not in path.read_text() for path in folder.iterdir())
    env = apps.queue_app(SETTINGS, "amqp:v1", "v1").definition["env"]
    assert env["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"] == "-rabbit loopback_users []"


def test_a_worker_without_wishes_is_as_invoke_yaml_says() -> None:
    app = apps.worker_app(SETTINGS, wish(), "worker:v1", "v1")
    assert app.id == "/worker-myqueue"
    assert app.definition["cmd"] == ("exec cluster_worker -u amqp://127.0.0.1:5672 -q myqueue --tag -j 1 -- myaction.r")
    assert (app.instances, app.definition["cpus"], app.definition["mem"]) == (1, 1.0, 1024)


def test_wishes_become_flags_each_quoted() -> None:
    wanted = wish(
        queue="My Queue", action="sum.py '/tmp/a b'", jobs=4, timeout_s=1234567.5, attempts=5, keep_alive=True,
        drain_s=30, rest="--prefetch 8",
    )  # fmt: skip
    definition = apps.worker_app(SETTINGS, wanted, "worker:v1", "v1").definition
    assert definition["cmd"] == (
        "exec cluster_worker -u amqp://127.0.0.1:5672 -q 'My Queue' --tag -j 4 --timeout 1234567.5 --attempts 5 "
        "--drain 30 --keep-alive --prefetch 8 -- sum.py '/tmp/a b'"
    )
    assert definition["env"]["QUEUE_NAME"] == "My Queue"
    assert (definition["taskKillGracePeriodSeconds"], grace_s(definition)) == (30 + 30, 30 + 30)


def test_actions_may_take_long_when_we_stop_a_worker_and_not_when_something_else_does() -> None:
    definition = apps.worker_app(SETTINGS, wish(), "worker:v1", "v1").definition
    assert (definition["taskKillGracePeriodSeconds"], grace_s(definition)) == (80, 7 * 24 * 3600)


def test_the_machines_folder_is_the_workers_tmp() -> None:
    settings = replace(SETTINGS, worker=replace(SETTINGS.worker, tmp="/scratch"))
    volumes = apps.worker_app(settings, wish(), "worker:v1", "v1").definition["container"]["volumes"]
    assert {"containerPath": "/tmp", "hostPath": "/scratch", "mode": "RW"} in volumes


def test_a_container_runs_as_the_person() -> None:
    work = replace(wish(), user="1000:1000")
    docker = apps.worker_app(SETTINGS, work, "worker:v1", "v1").definition["container"]["docker"]
    assert {"key": "user", "value": "1000:1000"} in docker["parameters"]


def test_a_password_is_in_a_file_and_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "SECRETS", tmp_path / "secrets")
    app = apps.worker_app(SETTINGS, wish(url="amqp://ann:planted-secret@10.0.0.1:5672"), "worker:v1", "v1")
    assert "planted-secret" not in str(app)
    (path,) = (tmp_path / "secrets").iterdir()
    assert path.read_text() == "planted-secret\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    inside = app.definition["env"]["AMQP_PASSWORD_FILE"]
    assert app.definition["env"]["AMQP_USER"] == "ann"
    mounted = {"containerPath": inside, "hostPath": str(path), "mode": "RO"}
    assert mounted in app.definition["container"]["volumes"]
    assert not Path(inside).is_relative_to("/tmp")  # a volume, whatever folder of the machine it is


def test_a_process_reads_the_password_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "SECRETS", tmp_path / "secrets")
    work = replace(wish(url="amqp://ann:planted-secret@10.0.0.1:5672"), in_container=False)
    env = apps.worker_app(SETTINGS, work, "", "v1").definition["env"]
    assert Path(env["AMQP_PASSWORD_FILE"]).read_text() == "planted-secret\n"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"instances": -1}, "--instances -1"),
        ({"jobs": -2}, "--jobs -2"),
        ({"attempts": -1}, "--attempts -1"),
        ({"rest": "--prefetch '8"}, "--options"),
        ({"rest": "--nosuch 8"}, "--options: .*--nosuch"),
        ({"rest": "--backoff soon"}, "--options: .*'soon'"),
        ({"rest": "nosuch"}, "--options: 'nosuch' is no option"),
        ({"rest": "-q other"}, "--options: .*-q: it is given twice"),
        ({"rest": "-u amqp://other"}, "--options: .*-u: it is given twice"),
        ({"rest": "--attempts 5", "attempts": 4}, "--options: .*--attempts: it is given twice"),
        ({"rest": "-j 5", "jobs": 4}, "--options: .*-j: it is given twice"),
        ({"queue": "amq.x"}, "'amq.x'"),
    ],
)
def test_a_wish_that_cannot_be_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ClusterError, match=words):
        wish(**changes)


@pytest.mark.parametrize("rest", ["-j 5", "-j5"])
def test_jobs_among_the_options_are_taken(rest: str) -> None:
    assert wish(rest=rest).options == ("--tag", *rest.split())


@pytest.mark.parametrize("action", [" ", "sum.py 'a"])
def test_an_action_that_is_no_command_is_named(action: str) -> None:
    with pytest.raises(ClusterError, match="--action"):
        wish(action=action)


def test_the_password_file_is_given_to_the_user_of_the_workers_image() -> None:
    dockerfile = (ROOT / "components" / "worker" / "Dockerfile").read_text()
    assert f"useradd --uid {credentials.WORKER_UID} " in dockerfile
