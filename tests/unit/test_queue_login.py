"""The login of a cluster's queue, and what becomes of it on the way to the hosts."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from cluster import credentials
from cluster.queue import login as queue_login
from cluster.queue.login import QueueLogin
from scripts.errors import ClusterError
from scripts.hostport import HostPort
from tests.conftest import SETTINGS

PLANTED = "pl@nted:secret/word"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(credentials, "SECRETS", tmp_path / ".secrets")
    return tmp_path / ".secrets"


def ensure(environ: Mapping[str, str] | None = None) -> QueueLogin:
    return queue_login.ensure(SETTINGS, environ or {})


def test_the_first_use_makes_one_for_its_owner_alone(folder: Path) -> None:
    assert queue_login.known(SETTINGS) is None
    login = ensure()
    (path,) = folder.iterdir()
    assert (path.stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)
    assert (login.user, len(login.password)) == ("cluster", 32)
    assert ensure() == queue_login.known(SETTINGS) == login


def test_two_projects_have_two(folder: Path) -> None:
    other = queue_login.ensure(replace(SETTINGS, project="other"), {})
    assert other.password != ensure().password


def test_the_environment_s_password_is_taken_and_kept(tmp_path: Path) -> None:
    first = ensure()
    file = tmp_path / "password"
    file.write_text(PLANTED + "\n")
    login = ensure({"AMQP_USER": "me", "AMQP_PASSWORD_FILE": str(file)})
    assert (login.user, login.password) == ("me", PLANTED)
    assert login.id != first.id
    assert ensure() == login == ensure({"AMQP_USER": "me", "AMQP_PASSWORD": PLANTED})


def test_a_login_that_is_elsewhere_is_replaced_by_no_new_one_unasked() -> None:
    present = {"env": {"CLUSTER_LOGIN_ID": "0123abcd"}}
    with pytest.raises(ClusterError, match=r"queue.json: the login of the queue \(0123abcd\) is not here.*--force"):
        queue_login.refuse_to_replace(SETTINGS, present, force=False, environ={})
    queue_login.refuse_to_replace(SETTINGS, present, force=True, environ={})
    queue_login.refuse_to_replace(SETTINGS, present, force=False, environ={"AMQP_PASSWORD": PLANTED})
    for begins in (None, {}, {"env": {}}):
        queue_login.refuse_to_replace(SETTINGS, begins, force=False, environ={})
    ensure()
    queue_login.refuse_to_replace(SETTINGS, present, force=False, environ={})


def test_after_another_login_the_workers_are_to_be_deployed_again() -> None:
    one, other = ({"env": {"CLUSTER_LOGIN_ID": name}} for name in ("1", "2"))
    assert queue_login.describe_change(one, other)
    assert [queue_login.describe_change(before, one) for before in (None, {}, one)] == [[], [], []]


def test_a_user_without_a_password_is_an_error() -> None:
    with pytest.raises(ClusterError, match=r"^AMQP_USER: set AMQP_PASSWORD_FILE"):
        ensure({"AMQP_USER": "me"})


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"user": "x"}', "\xff"])
def test_a_file_that_holds_no_login_is_an_error_that_names_it(folder: Path, content: str) -> None:
    folder.mkdir()
    path = folder / f"{SETTINGS.project}-queue.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(ClusterError, match=rf"^{path} holds no login: delete it"):
        ensure()


def planted() -> QueueLogin:
    return ensure({"AMQP_PASSWORD": PLANTED})


def test_nothing_that_people_see_has_the_password() -> None:
    login = planted()
    secrets = [queue_login.for_queue(SETTINGS, login), queue_login.for_workers(SETTINGS, login, {})]
    seen = [repr(login), *map(repr, secrets), *(json.dumps(each.env) for each in secrets)]
    seen += [json.dumps(each.volumes) for each in secrets]
    assert not [text for text in seen if PLANTED in text or login.salt in text]


def test_the_queue_s_files_have_the_hash_alone_and_stay_the_same() -> None:
    login = planted()
    secrets = queue_login.for_queue(SETTINGS, login)
    assert queue_login.for_queue(SETTINGS, login) == secrets
    assert [file.owner for file in secrets.files] == [900, 900]
    assert not [file for file in secrets.files if PLANTED.encode() in file.content]
    ((mount,), conf) = secrets.volumes, secrets.files[0]
    assert conf.path == f"{mount['hostPath']}/90-users.conf"
    assert conf.content.decode().split()[-1] == f"{mount['containerPath']}/users.json"
    assert mount["mode"] == "RO"


def test_workers_are_told_paths(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("to-ken")
    environ = {"MARATHON_USER": "m", "MARATHON_PASSWORD": "n", "DCOS_ACS_TOKEN_FILE": str(token)}
    secrets = queue_login.for_workers(SETTINGS, planted(), environ)
    folder = f"/etc/cluster/secrets/{SETTINGS.project}/worker"
    assert {file.path: file.content for file in secrets.files} == {
        f"{folder}/amqp-password-file": PLANTED.encode() + b"\n",
        f"{folder}/marathon-password-file": b"n\n",
        f"{folder}/dcos-acs-token-file": b"to-ken\n",
    }
    assert secrets.env["AMQP_PASSWORD_FILE"] == f"{folder}/amqp-password-file"
    assert (secrets.env["AMQP_USER"], secrets.env["MARATHON_USER"]) == ("cluster", "m")
    assert {file.owner for file in secrets.files} == {1000}
    assert "MARATHON_PASSWORD" not in secrets.env


def test_agents_need_files_only_where_the_queue_has_a_login() -> None:
    assert queue_login.workers_files(SETTINGS, {"AMQP_PASSWORD": "x"}) == ()
    login = ensure()
    (file,) = queue_login.workers_files(SETTINGS, {})
    assert file == queue_login.for_workers(SETTINGS, login, {}).files[0]
    (other,) = queue_login.workers_files(SETTINGS, {"AMQP_PASSWORD": "x"})
    assert (other.path, other.content) == (file.path, b"x\n")


BROKER = "amqp://broker.example:5672"


def test_workers_of_another_broker_have_files_of_their_own() -> None:
    environ = {"AMQP_PASSWORD": "x"}
    login = queue_login.given(f"amqp://me:{quote(PLANTED, safe='')}@broker.example:5672", environ)
    assert login
    assert (login.user, login.password) == ("me", PLANTED)
    secrets = queue_login.for_workers(SETTINGS, login, broker=BROKER)
    (file,) = secrets.files
    usual = queue_login.for_workers(SETTINGS, login, {})
    other = queue_login.for_workers(SETTINGS, replace(login, user="you"), broker=BROKER)
    assert len({file.path, usual.files[0].path, other.files[0].path}) == 3
    assert (secrets.env["AMQP_USER"], secrets.env["AMQP_PASSWORD_FILE"]) == ("me", file.path)
    assert file.content == PLANTED.encode() + b"\n"
    assert file.path.startswith(f"{secrets.volumes[0]['containerPath']}/")
    assert PLANTED not in repr(secrets)


def test_another_broker_s_login_is_of_the_url_or_the_environment_or_guest() -> None:
    assert queue_login.given(BROKER, {}) is None
    found = queue_login.given(BROKER, {"AMQP_USER": "me", "AMQP_PASSWORD": "x"})
    assert found
    assert (found.user, found.password) == ("me", "x")
    with pytest.raises(ClusterError, match=rf"^-u {BROKER}: user me without a password: set AMQP_PASSWORD_FILE"):
        queue_login.given("amqp://me@broker.example:5672", {})
    with pytest.raises(ClusterError, match="is not a broker's URL"):
        queue_login.given("http://me:x@b", {})


def test_a_definition_keeps_what_it_has() -> None:
    definition: dict[str, Any] = {
        "id": "/x",
        "env": {"A": "1"},
        "container": {"docker": {"image": "i"}, "volumes": [{"containerPath": "/tmp"}]},
    }
    before = json.dumps(definition)
    added = queue_login.for_workers(SETTINGS, planted(), {}).added_to(definition)
    assert json.dumps(definition) == before
    assert added["env"]["A"] == "1"
    assert added["env"]["AMQP_USER"] == "cluster"
    paths = [volume["containerPath"] for volume in added["container"]["volumes"]]
    assert paths == ["/tmp", f"/etc/cluster/secrets/{SETTINGS.project}/worker"]
    assert added["container"]["docker"] == {"image": "i"}


def test_the_url_can_hold_any_password() -> None:
    assert queue_login.url(HostPort("10.0.0.1", 31001), planted()) == (
        "amqp://cluster:pl%40nted%3Asecret%2Fword@10.0.0.1:31001"
    )
    assert queue_login.url(HostPort("::1", 5672), None) == "amqp://[::1]:5672"


def test_a_marathon_file_that_is_missing_is_named() -> None:
    missing = {"MARATHON_CA_FILE": "/nowhere/ca.pem"}
    with pytest.raises(ClusterError, match=r"^MARATHON_CA_FILE: /nowhere/ca\.pem: No such file"):
        queue_login.for_workers(SETTINGS, planted(), missing)
