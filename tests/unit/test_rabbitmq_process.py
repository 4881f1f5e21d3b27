"""How RabbitMQ is set up as a process, without running it."""

import stat
from pathlib import Path

import pytest

from cluster.apps.app import AppSpec
from cluster.engine import debian
from cluster.schedulers.process import scheduler
from scripts.errors import ServiceAway
from tests.refusing import refusal

PORTS = {5672: 41001, 15672: 41002, 15692: 41003}


def environment(data: Path, own: dict[str, str] | None = None, **inherited: str) -> dict[str, str]:
    env = {"PATH": "/usr/bin", "HOME": "/home/person", **inherited}
    return scheduler.rabbitmq_environment(env, "mine", AppSpec("/amqp", mem_mib=512, env=own or {}), PORTS, data)


@pytest.mark.parametrize(
    ("cmd", "expected"),
    [
        ("exec /usr/lib/rabbitmq/bin/rabbitmq-server", True),
        ("rabbitmq-server", True),
        ("exec sleep 1", False),
        ("", False),
    ],
)
def test_rabbitmq_is_known_by_its_command(cmd, expected):
    assert scheduler.is_rabbitmq(AppSpec("/x", command=cmd)) is expected


def test_all_that_it_writes_and_is_called_is_its_own(tmp_path):
    env = environment(tmp_path)
    assert env["RABBITMQ_NODENAME"] == "rabbit-mine@localhost"
    assert env["RABBITMQ_NODE_IP_ADDRESS"] == env["ERL_EPMD_ADDRESS"] == "127.0.0.1"
    assert env["RABBITMQ_NODE_PORT"] == "41001"
    assert env["CLUSTER_MEM_MIB"] == "512"
    assert [env[name] for name in ("HOME", "RABBITMQ_MNESIA_BASE", "RABBITMQ_LOG_BASE", "RABBITMQ_CONFIG_FILE")] == [
        str(tmp_path / name) for name in ("", "mnesia", "log", "rabbitmq.conf")
    ]
    assert len({env["RABBITMQ_NODE_PORT"], env["RABBITMQ_DIST_PORT"], env["ERL_EPMD_PORT"]}) == 3


def test_the_config_is_the_image_s_and_the_listeners(tmp_path):
    environment(tmp_path)
    config = (tmp_path / "rabbitmq.conf").read_text()
    assert config.startswith((scheduler.QUEUE_FILES / "rabbitmq.conf").read_text())
    assert config.splitlines()[-4:] == [
        "management.tcp.ip = 127.0.0.1",
        "management.tcp.port = 41002",
        "prometheus.tcp.ip = 127.0.0.1",
        "prometheus.tcp.port = 41003",
    ]


def test_settings_of_another_rabbitmq_are_not_taken_over_but_the_definition_s_are(tmp_path):
    own = {"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-x"}
    inherited = {
        "RABBITMQ_USE_LONGNAME": "true",
        "ERL_LIBS": "/x",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-x",
        "LANG": "C",
    }
    env = environment(tmp_path, own, **inherited)
    assert "RABBITMQ_USE_LONGNAME" not in env
    assert "ERL_LIBS" not in env
    assert (env["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"], env["LANG"]) == ("-x", "C")


def test_the_cookie_is_secret_and_made_once(tmp_path):
    environment(tmp_path)
    cookie = tmp_path / ".erlang.cookie"
    first = cookie.read_text()
    environment(tmp_path)
    assert (len(first), cookie.read_text()) == (40, first)
    assert stat.S_IMODE(cookie.stat().st_mode) == 0o400


def test_who_may_not_install_it_is_told_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(scheduler, "SERVER", tmp_path / "rabbitmq-server")
    monkeypatch.setattr(debian, "is_allowed", lambda: False)
    assert "-u amqp://HOST:PORT" in refusal(scheduler.ensure_rabbitmq, print, by=ServiceAway)
