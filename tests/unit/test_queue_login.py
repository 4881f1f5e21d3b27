"""The login of a cluster's queue, and what becomes of it on the way to the hosts."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from cluster import credentials
from cluster.apps.app import AppSpec, AppStatus, Change, Image
from cluster.operations.deploy import Rollout, deploy_queue
from cluster.queue import login as queue_login
from cluster.queue.login import QueueAddress, QueueLogin
from cluster.schedulers import DeployOptions
from cluster.settings import Settings
from scripts.errors import ClusterError
from scripts.hostport import HostPort
from tests.conftest import SETTINGS
from tests.refusing import refusal

PLANTED = "pl@nted:secret/word"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(credentials, "SECRETS", tmp_path / ".secrets")
    return tmp_path / ".secrets"


def ensure(environ: Mapping[str, str] | None = None, settings: Settings = SETTINGS) -> QueueLogin:
    """The login of a deploy that came to its end."""
    login = queue_login.ensure(settings, environ or {})
    with queue_login.used(settings, login):
        return login


def test_the_first_use_makes_one_for_its_owner_alone(folder: Path) -> None:
    assert queue_login.known(SETTINGS) is None
    login = ensure()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert (login.user, len(login.password)) == ("cluster", 32)
    assert ensure() == queue_login.known(SETTINGS) == login


def test_two_projects_have_two(folder: Path) -> None:
    other = ensure(settings=replace(SETTINGS, project="other"))
    assert other.password != ensure().password


def test_the_environment_s_password_is_taken_and_kept(tmp_path: Path) -> None:
    first = ensure()
    file = tmp_path / "password"
    file.write_text(PLANTED + "\n")
    login = ensure({"AMQP_USER": "me", "AMQP_PASSWORD_FILE": str(file)})
    assert (login.user, login.password) == ("me", PLANTED)
    assert login.id != first.id
    assert ensure() == login == ensure({"AMQP_USER": "me", "AMQP_PASSWORD": PLANTED})


def test_a_login_that_is_elsewhere_is_replaced_by_no_new_one_unasked(folder: Path) -> None:
    present = AppSpec("/amqp", env={"CLUSTER_LOGIN_ID": "0123abcd"})
    assert "0123abcd" in refusal(queue_login.ensure, SETTINGS, {}, queue=present)
    assert "0123abcd" in refusal(queue_login.login_of, SETTINGS, present, {})
    assert queue_login.login_of(SETTINGS, AppSpec("/amqp"), {}) is None
    assert not folder.exists()
    assert queue_login.ensure(SETTINGS, {}, queue=present, force=True).id != "0123abcd"
    assert queue_login.ensure(SETTINGS, {"AMQP_PASSWORD": PLANTED}, queue=present).password == PLANTED


class Cluster:
    """As much of a cluster as a deploy of the queue asks, which ends as it is told."""

    name, place, flag, address, user, caveat = "marathon", "a cluster", " -m a:1", "", "", ""
    is_here = has_hosts = is_batch = makes_data_folders = False
    has_images = limits_resources = True
    options = ()

    def __init__(self, runs: AppSpec | None, refuses: str = "") -> None:
        self.runs = runs
        self.refuses = refuses

    def present(self, app_id: str) -> AppSpec | None:
        return self.runs

    def image(self, tag: str) -> Image:
        return Image(tag, tag)

    def plan(self, app: AppSpec, options: DeployOptions) -> Change:
        if self.refuses == "plan":
            raise ClusterError("planned in vain")
        return Change(app, "replace", {})

    def apply(self, change: Change, options: DeployOptions) -> AppStatus:
        if self.refuses == "apply":
            raise ClusterError("locked")
        self.runs = change.app
        if self.refuses == "fail":
            raise ClusterError("not healthy")
        return AppStatus(change.app, ())


def deploy(engine: Cluster, is_dry_run: bool = False) -> None:
    options = DeployOptions(wait=False)
    deploy_queue(SETTINGS, Rollout(engine, lambda line: None, options, is_dry_run))  # type: ignore[arg-type]


@pytest.mark.parametrize("refuses", ["plan", "apply"])
def test_a_deploy_that_is_refused_leaves_the_login_as_it_was(refuses: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Cluster(None)
    deploy(engine)
    first = queue_login.known(SETTINGS)
    assert first
    monkeypatch.setenv("AMQP_PASSWORD", PLANTED)
    engine.refuses = refuses
    with pytest.raises(ClusterError):
        deploy(engine)
    monkeypatch.delenv("AMQP_PASSWORD")
    assert queue_login.known(SETTINGS) == queue_login.login_of(SETTINGS, engine.runs, {}) == first
    assert ensure() == first


def test_a_dry_run_keeps_no_login(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, ids = Cluster(None), set[str]()
    monkeypatch.setattr(engine, "plan", lambda app, _: ids.add(queue_login.id_in(app)) or Change(app, "create", {}))
    deploy(engine, is_dry_run=True)
    assert (folder.exists(), ids) == (False, {"made-when-deployed"})


def test_whatever_runs_can_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Cluster(None)
    deploy(engine)
    earlier = engine.runs
    monkeypatch.setenv("AMQP_PASSWORD", PLANTED)
    engine.refuses = "fail"
    with pytest.raises(ClusterError, match="not healthy"):
        deploy(engine)
    monkeypatch.delenv("AMQP_PASSWORD")
    login = queue_login.login_of(SETTINGS, engine.runs, {})
    assert login
    assert login.password == PLANTED
    engine.refuses = ""
    deploy(engine)
    assert queue_login.known(SETTINGS) == queue_login.login_of(SETTINGS, engine.runs, {}) == login
    before = queue_login.login_of(SETTINGS, earlier, {})
    assert before
    assert before != login
    files = {file.group for each in (before, login) for file in queue_login.for_queue(each).files}
    assert len(files) == 2


def test_a_user_without_a_password_is_an_error() -> None:
    assert "AMQP_USER: " in refusal(ensure, {"AMQP_USER": "me"})


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"user": "x"}', "\xff"])
def test_a_file_that_holds_no_login_is_an_error_that_names_it(folder: Path, content: str) -> None:
    folder.mkdir()
    path = folder / f"{SETTINGS.project}-queue.json"
    path.write_text(content, encoding="latin-1")
    assert str(path) in refusal(ensure)


def planted() -> QueueLogin:
    return ensure({"AMQP_PASSWORD": PLANTED})


def test_nothing_that_people_see_or_that_is_kept_has_the_password() -> None:
    login = planted()
    secrets = [queue_login.for_queue(login), queue_login.for_workers(login)]
    apps = [each.added_to(AppSpec("/x")) for each in secrets]
    seen = [repr(login), *map(repr, secrets), *map(repr, apps), *(json.dumps(app.as_json()) for app in apps)]
    assert not [text for text in seen if PLANTED in text or login.salt in text]


def test_the_queue_s_files_have_the_hash_alone_and_stay_the_same() -> None:
    login = planted()
    conf, users = queue_login.for_queue(login).files
    assert queue_login.for_queue(login).files == (conf, users)
    assert (conf.owner, users.owner) == (900, 900)
    assert PLANTED.encode() not in conf.content + users.content
    assert (conf.name, conf.content.decode().split()[-1]) == ("90-users.conf", f"{users.folder}/{users.name}")


def test_workers_are_told_where_the_password_is() -> None:
    secrets = queue_login.for_workers(planted())
    (file,) = secrets.files
    assert (file.group, file.name, file.env) == ("worker", "amqp-password-file", "AMQP_PASSWORD_FILE")
    assert (file.content, file.owner) == (PLANTED.encode() + b"\n", 1000)
    assert secrets.env["AMQP_USER"] == "cluster"


def test_agents_need_files_only_where_the_queue_has_a_login() -> None:
    assert queue_login.workers_files(SETTINGS, {"AMQP_PASSWORD": "x"}) == ()
    login = ensure()
    (file,) = queue_login.workers_files(SETTINGS, {})
    assert file == queue_login.for_workers(login).files[0]
    (other,) = queue_login.workers_files(SETTINGS, {"AMQP_PASSWORD": "x"})
    assert (other.group, other.name, other.content) == (file.group, file.name, b"x\n")


BROKER = "amqp://broker.example:5672"


def test_workers_of_another_broker_have_files_of_their_own() -> None:
    environ = {"AMQP_PASSWORD": "x"}
    login = queue_login.given(f"amqp://me:{quote(PLANTED, safe='')}@broker.example:5672", environ)
    assert login
    assert (login.user, login.password) == ("me", PLANTED)
    secrets = queue_login.for_workers(login, BROKER)
    other = queue_login.for_workers(replace(login, user="you"), BROKER)
    groups = {each.files[0].group for each in (secrets, queue_login.for_workers(login), other)}
    assert len(groups) == 3
    assert (secrets.env["AMQP_USER"], secrets.files[0].content) == ("me", PLANTED.encode() + b"\n")


def test_another_broker_s_login_is_of_the_url_or_the_environment_or_guest() -> None:
    assert queue_login.given(BROKER, {}) is None
    found = queue_login.given(BROKER, {"AMQP_USER": "me", "AMQP_PASSWORD": "x"})
    assert found
    assert (found.user, found.password) == ("me", "x")
    assert f"-u {BROKER}: user me " in refusal(queue_login.given, "amqp://me@broker.example:5672", {})
    refusal(queue_login.given, "http://me:x@b", {})


def test_an_app_keeps_what_it_has() -> None:
    (file,) = queue_login.for_workers(planted()).files
    app = AppSpec("/x", env={"A": "1"}, secret_files=(replace(file, name="other"),))
    added = queue_login.for_workers(planted()).added_to(app)
    assert (added.env["A"], added.env["AMQP_USER"]) == ("1", "cluster")
    assert [each.name for each in added.secret_files] == ["other", file.name]


def test_the_url_can_hold_any_password() -> None:
    address = QueueAddress(HostPort("::1", 5672), HostPort("::1", 15672), planted())
    assert address.url == "amqp://cluster:pl%40nted%3Asecret%2Fword@[::1]:5672"
    assert replace(address, login=None).url == "amqp://[::1]:5672"
