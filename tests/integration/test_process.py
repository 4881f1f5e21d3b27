"""What the scheduler `process` alone does: pids, folders and the environment."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from cluster.apps.app import AppSpec, Volume
from cluster.apps.component_apps import Work
from cluster.apps.flags import AppOverrides
from cluster.files import locked
from cluster.operations.deploy import Rollout, deploy_workers
from cluster.operations.operate import undone_on_failure
from cluster.schedulers import DeployOptions
from cluster.schedulers.process.scheduler import Process
from cluster.settings import ROOT
from scripts.errors import ClusterError
from tests.conftest import SETTINGS, own_settings
from tests.deploying import deploy
from tests.waiting import until


@pytest.fixture
def where(tmp_path: Path) -> Iterator[Process]:
    scheduler = Process(replace(SETTINGS, project="test"), tmp_path, print)
    yield scheduler
    for app in scheduler.status():
        scheduler.stop(app.id, now=True)


def app(command: str = "exec sleep 1000", app_id: str = "/app") -> AppSpec:
    return AppSpec(app_id, command=command)


STARTS = """
import json, sys
from dataclasses import replace
from pathlib import Path
from cluster.apps.app import AppSpec
from cluster.schedulers import DeployOptions
from cluster.schedulers.process.scheduler import Process
from tests.conftest import SETTINGS
from tests.deploying import deploy
from tests.waiting import until
where = Process(replace(SETTINGS, project="test"), Path(sys.argv[1]), print)
deploy(where, AppSpec("/app", command="until test -e go; do sleep 0.1; done; exit 5"))
"""


def test_a_process_that_merely_has_the_pid_is_not_ours(where, tmp_path):
    deploy(where, app())
    state = tmp_path / "test" / "app" / "1" / "state.json"
    ours = json.loads(state.read_text())
    stranger = subprocess.Popen(["sleep", "1000"])
    try:
        state.write_text(json.dumps(ours | {"pid": stranger.pid, "started": ours["started"] - 1000}))
        assert where.status()[0].instances[0].state == "stopped"
        assert where.stop("/app") is True
        assert stranger.poll() is None
        assert not psutil.pid_exists(ours["pid"])
    finally:
        stranger.kill()
        stranger.wait()


def test_it_runs_on_and_its_exit_code_is_known_after_its_starter_has_gone(where, tmp_path):
    subprocess.run([sys.executable, "-c", STARTS, str(tmp_path)], cwd=ROOT, check=True, timeout=60)
    (instance,) = where.status()[0].instances
    assert instance.state == "running"
    pid = json.loads((tmp_path / "test/app/1/state.json").read_text())["pid"]
    assert os.getsid(pid) == pid  # no terminal's Ctrl-C or hang-up reaches it
    (tmp_path / "test/app/1/go").touch()
    until(lambda: where.status()[0].instances[0].detail == "ended with exit code 5")


def test_what_was_killed_is_told(where, tmp_path):
    deploy(where, app())
    shell = psutil.Process(json.loads((tmp_path / "test/app/1/state.json").read_text())["pid"])
    shell.kill()
    psutil.wait_procs([shell], timeout=10)
    assert where.status()[0].instances[0].detail == "was killed"


def test_actions_and_launchers_are_on_the_path(where, tmp_path):
    deploy(where, app('echo "$PATH"; echo "$CLUSTER_WORKER_ALIVE_FILE"; exec sleep 1000'))
    until(lambda: len(list(where.logs("/app"))) == 2)
    path, alive = [line.partition(": ")[2] for line in where.logs("/app")]
    assert path.split(":")[:2] == [str(ROOT / "scripts"), str(ROOT / "components" / "worker" / "scripts")]
    assert alive == str(tmp_path / "test" / "app" / "1" / "alive")


def test_the_environment_that_is_written_down_is_for_its_user_alone(where, tmp_path):
    deploy(where, app())
    folder = tmp_path / "test" / "app" / "1"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "state.json").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("other", "error"),
    [
        (app(""), "/app: the command"),
        (replace(app(), time_limit_s=60), "of 60 s: process has none"),
        (app(app_id="/data"), "the folder of this name is for data"),
        (app(app_id="/a-b"), "/a/b runs here and uses its folder"),
    ],
)
def test_what_it_cannot_run_is_refused(where, other, error):
    deploy(where, app(app_id="/a/b"))
    with pytest.raises(ClusterError, match=error):
        deploy(where, other)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"cpus": 0.5}, r"--cpus 0\.5"),
        ({"mem_mib": 512}, "--mem-mib 512"),
        ({"volumes": ["/data:/in"]}, "--volume /data:/in"),
        ({"volumes": ["/data:/data:ro"]}, "--volume /data:/data:ro"),
    ],
)
def test_flags_of_containers_are_refused(where, tmp_path, flags, named):
    settings = own_settings(tmp_path, "process")
    work = Work.of(settings, queue="any", action="true", url="amqp://127.0.0.1:1")
    with pytest.raises(ClusterError, match=named):
        deploy_workers(
            settings, Rollout(where, print, DeployOptions(timeout_s=5)), work, overrides=AppOverrides.of(**flags)
        )
    assert where.status() == []


def test_a_volume_that_is_the_folder_itself_is_there(where, tmp_path):
    flags = AppOverrides.of(volumes=[f"{tmp_path}:{tmp_path}"], env=["WORD=as given"])
    flags.refuse_volumes(where.place)
    deploy(where, flags.applied_to(app(f'echo "$WORD" >{tmp_path}/seen; exec sleep 1000')))
    until(lambda: (tmp_path / "seen").exists() and (tmp_path / "seen").read_text() == "as given\n")


def test_a_person_s_own_login_is_not_handed_on(where, monkeypatch):
    monkeypatch.setenv("AMQP_PASSWORD", "planted")
    deploy(where, app('echo "${AMQP_PASSWORD-none}"; exec sleep 1000'))
    until(lambda: list(where.logs("/app")) == ["test-app-1: none"])


def test_what_an_app_writes_is_not_taken_for_an_instance(where):
    writes = app('cd "$CLUSTER_DATA_ONE"; echo "{" >definition.json; exec sleep 1000')
    deploy(where, replace(writes, volumes=(Volume("/var/lib/cluster/one", "/data"),)))
    assert [one.id for one in where.status()] == ["/app"]


def test_a_log_keeps_only_what_its_instance_printed(where):
    deploy(where, app("echo one; exec sleep 1000"))
    deploy(where, app("echo two; exec sleep 1000"))
    until(lambda: list(where.logs("/app")) == ["test-app-1: two"])


def test_a_trial_runs_beside_the_app_and_leaves_nothing(where):
    deploy(where, app())
    before = where.status()
    assert where.run_once(app("echo one; command -v cluster_worker; exit 7")) == (
        7, ["one", str(ROOT / "scripts" / "cluster_worker")],
    )  # fmt: skip
    assert where.status() == before
    with pytest.raises(ClusterError, match=r"had not ended after 0\.1 s"):
        where.run_once(app(), timeout_s=0.1)


def test_what_an_earlier_version_started_is_found_replaced_and_stopped(where, tmp_path):
    deploy(where, app())
    earlier = {"id": "/app", "cmd": "exec sleep 1000", "mem": 512, "container": {"docker": {"image": "worker:v1"}}}
    (tmp_path / "test" / "app" / "1" / "definition.json").write_text(json.dumps(earlier))
    present = where.present("/app")
    assert (present.command, present.mem_mib, present.image) == ("exec sleep 1000", 512, "worker:v1")
    assert where.plan(app()).kind == "replace"
    assert deploy(where, app()).running == 1
    assert where.present("/app") == app()


def test_another_deploy_that_is_under_way_is_not_undone(where, tmp_path):
    deploy(where, app())
    before = where.present("/app")
    where.stop("/app", now=True)
    deploy(where, app("exec sleep 2000"))
    with (
        locked(tmp_path / "test" / "app.lock", ""),
        pytest.raises(ClusterError, match=r"^another deploy of /app is under way: wait for it, or run this again$"),
        undone_on_failure(where, "/app", before, print),
    ):
        deploy(where, app("exec sleep 3000"))
    assert where.present("/app").command == "exec sleep 2000"
